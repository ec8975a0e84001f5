#pragma once

#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// Most recently used: gives up the evictable block whose last use is most recent. The best one can
/// do against a loop that is longer than the cache, and poor against anything else.
/// \complexity on_* O(1) amortised; victim O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Chou, DeWitt, "An Evaluation of Buffer Management Strategies for Relational Database
/// Systems", VLDB '85.
class Mru {
 public:
  static constexpr std::string_view name = "mru";
  explicit Mru(BlockCount capacity) : queue_(capacity) {}

  void on_insert(BlockId b, const BlockContext&) { queue_.append(b); }
  void on_access(BlockId b, const BlockContext&) { queue_.move_to_back(b); }
  void set_evictable(BlockId b, bool evictable) { queue_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { queue_.erase(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return queue_.newest_evictable(); }

 private:
  OrderedSlots<false> queue_;
};
static_assert(EvictionPolicy<Mru>);

}  // namespace quire::eviction
