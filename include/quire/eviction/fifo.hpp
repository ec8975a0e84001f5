#pragma once

#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// First in, first out: gives up the block that entered first; a hit changes nothing.
/// A block in use keeps its place in the queue.
/// \complexity on_access O(1), nothing to do; the rest O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Folklore; the baseline of every paper on eviction.
class Fifo {
 public:
  static constexpr std::string_view name = "fifo";
  explicit Fifo(BlockCount capacity) : queue_(capacity) {}

  void on_insert(BlockId b, const BlockContext&) { queue_.append(b); }
  void on_access(BlockId, const BlockContext&) {}
  void set_evictable(BlockId b, bool evictable) { queue_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { queue_.erase(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return queue_.oldest_evictable(); }

 private:
  OrderedSlots<false> queue_;
};
static_assert(EvictionPolicy<Fifo>);

}  // namespace quire::eviction
