// mechanism: blocks with a key each, of which the evictable one with the least key is found.
#pragma once

#include <cstddef>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/indexed_heap.hpp>

namespace quire::eviction {

/// Keeps every block's key, and the evictable blocks in a heap by it: what a policy that orders by
/// a number needs. Blocks in use cost nothing when their key changes.
/// \complexity set_key, set_evictable, remove O(log8 capacity) on evictable blocks, else O(1);
///             victim O(1). No allocation after construction.
template <class Key>
class ScoreOrder {
 public:
  explicit ScoreOrder(BlockCount capacity)
      : heap_(capacity), keys_(static_cast<std::size_t>(capacity.value)) {}

  [[nodiscard]] const Key& key(BlockId b) const { return keys_[b.value]; }
  [[nodiscard]] bool evictable(BlockId b) const { return heap_.contains(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return heap_.top(); }

  void set_key(BlockId b, const Key& key) {
    keys_[b.value] = key;
    if (heap_.contains(b)) heap_.update(b, key);
  }
  void set_evictable(BlockId b, bool evictable) {
    if (evictable) {
      heap_.push(b, keys_[b.value]);
    } else {
      heap_.erase(b);
    }
  }
  void remove(BlockId b) {
    if (heap_.contains(b)) heap_.erase(b);
  }

 private:
  IndexedHeap<Key> heap_;  // evictable blocks only
  huge_vector<Key> keys_;
};

}  // namespace quire::eviction
