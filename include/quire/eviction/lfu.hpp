#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/score_order.hpp>

namespace quire::eviction {

/// Least frequently used: gives up the block with the fewest accesses, of equals the one whose last
/// access is longest ago. Nothing ages, and what is evicted is forgotten.
/// \complexity on_access, set_evictable, on_remove O(log8 capacity) on evictable blocks, O(1) on
///             blocks in use; victim O(1).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Aho, Denning, Ullman, "Principles of Optimal Page Replacement", JACM 1971. Deviation:
/// more than 2^24 - 1 accesses of a block count as that many.
class Lfu {
 public:
  static constexpr std::string_view name = "lfu";
  explicit Lfu(BlockCount capacity) : order_(capacity) {}

  void on_insert(BlockId b, const BlockContext&) { order_.set_key(b, key(1)); }
  void on_access(BlockId b, const BlockContext&) {
    order_.set_key(b, key((order_.key(b) >> time_bits) + 1));
  }
  void set_evictable(BlockId b, bool evictable) { order_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { order_.remove(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return order_.victim(); }

 private:
  static constexpr int time_bits = 40;  // a trillion events

  /// Orders by frequency, then by the time of this event.
  std::uint64_t key(std::uint64_t frequency) {
    return std::min(frequency, std::uint64_t{0xffffff}) << time_bits | ++now_;
  }

  ScoreOrder<std::uint64_t> order_;
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<Lfu>);

}  // namespace quire::eviction
