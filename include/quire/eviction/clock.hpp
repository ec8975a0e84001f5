#pragma once

#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// CLOCK: a FIFO queue in which a hit marks a block, and the mark buys one more round.
/// Eviction takes blocks from the old end: a marked one loses its mark and goes to the back, the
/// first unmarked one is given up. A block in use keeps its place and its mark.
/// The scan takes effect when its victim is removed: asking for the victim changes nothing.
/// \complexity on_access O(1); victim O(log64 capacity); on_remove of the victim O(1) amortised (a
///             mark is paid for by the hit that set it), O(capacity) worst, when all are marked.
/// \errors none: victim() is empty when nothing is evictable.
/// \source Corbato, "A Paging Experiment with the Multics System", 1968, as FIFO-reinsertion.
class Clock {
 public:
  static constexpr std::string_view name = "clock";
  explicit Clock(BlockCount capacity) : queue_(capacity) {}

  void on_insert(BlockId b, const BlockContext&) { queue_.append(b); }
  void on_access(BlockId b, const BlockContext&) { queue_.set_marked(b, true); }
  void set_evictable(BlockId b, bool evictable) { queue_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    if (victim() == b) pass_marked();
    queue_.erase(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const std::optional<BlockId> unmarked = queue_.oldest_candidate();
    return unmarked ? unmarked : queue_.oldest_evictable();  // all marked: after one round
  }

 private:
  /// Gives the marked blocks before the victim their round. \pre something is evictable
  void pass_marked() {
    for (BlockId b = *queue_.oldest_evictable(); queue_.marked(b); b = *queue_.oldest_evictable()) {
      queue_.set_marked(b, false);
      queue_.move_to_back(b);
    }
  }

  OrderedSlots<true> queue_;
};
static_assert(EvictionPolicy<Clock>);

}  // namespace quire::eviction
