#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/segmented_queue.hpp>

namespace quire::eviction {

/// Segmented LRU: new blocks are on probation, a hit moves them to a protected segment of four
/// fifths of the capacity, whose least recently used block returns to probation when it overflows.
/// \complexity on_* O(1) amortised; victim O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Karedla, Love, Wherry, "Caching Strategies to Improve Disk System Performance", IEEE
/// Computer 1994. The protected segment's share is the usual one; the paper gives a range.
class Slru {
 public:
  static constexpr std::string_view name = "slru";
  explicit Slru(BlockCount capacity)
      : queue_(capacity, static_cast<std::size_t>(capacity.value * 4 / 5)) {}

  void on_insert(BlockId b, const BlockContext&) { queue_.append(b, false); }
  void on_access(BlockId b, const BlockContext&) { queue_.hit(b); }
  void set_evictable(BlockId b, bool evictable) { queue_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { queue_.erase(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return queue_.victim(); }

 private:
  SegmentedQueue queue_;
};
static_assert(EvictionPolicy<Slru>);

}  // namespace quire::eviction
