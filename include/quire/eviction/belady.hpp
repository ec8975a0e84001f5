#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/indexed_heap.hpp>

namespace quire::eviction {

/// Belady's MIN: gives up the block whose next use is furthest away; never used again is furthest.
/// Of blocks never used again the one that was used longest ago goes. It needs
/// BlockContext::next_use, which only a replay of a known trace can give.
/// \complexity O(log8 capacity) on evictable blocks, O(1) on blocks in use; victim O(1).
/// \errors none: without next_use it is LRU.
/// \source Belady, "A Study of Replacement Algorithms for a Virtual-Storage Computer", IBM Systems
/// Journal 1966. Deviation: a missed block always enters. With blocks in use or under the prefix
/// rule the choice is among the evictable only, and no longer optimal.
class Belady {
 public:
  static constexpr std::string_view name = "belady";
  explicit Belady(BlockCount capacity)
      : heap_(capacity), keys_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) { keys_[b.value] = key(context); }
  void on_access(BlockId b, const BlockContext& context) {
    keys_[b.value] = key(context);
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
  struct Key {
    std::uint64_t nearness = 0;  // the greatest is used next; 0: never
    std::uint64_t last_use = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  Key key(const BlockContext& context) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    return {context.next_use ? most - *context.next_use : 0, ++now_};
  }

  IndexedHeap<Key> heap_;  // evictable blocks only
  std::vector<Key> keys_;
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<Belady>);

}  // namespace quire::eviction
