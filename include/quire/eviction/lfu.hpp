#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/indexed_heap.hpp>

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
  explicit Lfu(BlockCount capacity)
      : heap_(capacity), keys_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext&) { keys_[b.value] = key(1); }
  void on_access(BlockId b, const BlockContext&) {
    keys_[b.value] = key((keys_[b.value] >> time_bits) + 1);
    if (heap_.contains(b)) heap_.update(b, keys_[b.value]);
  }
  void set_evictable(BlockId b, bool evictable) {
    evictable ? heap_.push(b, keys_[b.value]) : heap_.erase(b);
  }
  void on_remove(BlockId b) {
    if (heap_.contains(b)) heap_.erase(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const { return heap_.top(); }

 private:
  static constexpr int time_bits = 40;  // a trillion events

  /// Orders by frequency, then by the time of this event.
  std::uint64_t key(std::uint64_t frequency) {
    return std::min(frequency, std::uint64_t{0xffffff}) << time_bits | ++now_;
  }

  IndexedHeap<std::uint64_t> heap_;  // evictable blocks only
  std::vector<std::uint64_t> keys_;
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<Lfu>);

}  // namespace quire::eviction
