// mechanism: the evictable blocks in a heap by score, for policies that order by a number.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire::eviction {

/// A min-heap of blocks that knows where each block is, so that any block's key can change.
/// Eight children a node, whose keys lie side by side: seven levels for a million blocks. Keys must
/// be distinct where the order matters; policies put the last access into the key for that.
/// \complexity top, contains O(1); push, update, erase O(log8 size). No allocation after
///             construction.
template <class Key>
class IndexedHeap {
 public:
  explicit IndexedHeap(BlockCount capacity)
      : groups_(static_cast<std::size_t>(capacity.value) / arity + 3),
        place_(static_cast<std::size_t>(capacity.value), absent) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool contains(BlockId b) const { return place_[b.value] != absent; }
  /// The block with the least key.
  [[nodiscard]] std::optional<BlockId> top() const {
    return size_ == 0 ? std::nullopt : std::optional(block(root));
  }
  /// \pre present
  [[nodiscard]] const Key& key(BlockId b) const { return key_at(place_[b.value]); }

  /// \pre absent
  void push(BlockId b, const Key& key) {
    ++size_;
    rise(last(), b, key);
  }
  /// \pre present
  void update(BlockId b, const Key& key) {
    const std::size_t at = place_[b.value];
    if (key < key_at(at)) {
      rise(at, b, key);
    } else {
      sink(at, b, key);
    }
  }
  /// \pre present
  void erase(BlockId b) {
    const std::size_t at = place_[b.value];
    place_[b.value] = absent;
    const std::size_t from = last();
    --size_;
    if (at == from) return;
    const BlockId moved = block(from);
    const Key key = key_at(from);
    if (at != root && key < key_at(parent(at))) {
      rise(at, moved, key);
    } else {
      sink(at, moved, key);
    }
  }

 private:
  static constexpr std::size_t arity = 8;
  // The root stands at 7, so that the children of any node fill one group of eight.
  static constexpr std::size_t root = arity - 1;
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  struct alignas(64) Group {
    Key keys[arity]{};
    BlockId blocks[arity]{};
  };

  [[nodiscard]] std::size_t last() const { return root + size_ - 1; }
  static std::size_t parent(std::size_t i) { return i / arity + root - 1; }
  static std::size_t first_child(std::size_t i) { return arity * (i - root + 1); }
  [[nodiscard]] const Key& key_at(std::size_t i) const {
    return groups_[i / arity].keys[i % arity];
  }
  [[nodiscard]] BlockId block(std::size_t i) const { return groups_[i / arity].blocks[i % arity]; }
  void put(std::size_t i, BlockId b, const Key& key) {
    groups_[i / arity].keys[i % arity] = key;
    groups_[i / arity].blocks[i % arity] = b;
    place_[b.value] = static_cast<std::uint32_t>(i);
  }

  void rise(std::size_t at, BlockId b, const Key key) {
    while (at != root && key < key_at(parent(at))) {
      put(at, block(parent(at)), key_at(parent(at)));
      at = parent(at);
    }
    put(at, b, key);
  }
  void sink(std::size_t at, BlockId b, const Key key) {
    for (;;) {
      const std::size_t begin = first_child(at);
      if (begin > last()) break;
      const Group& group = groups_[begin / arity];
      const std::size_t count = std::min(arity, last() - begin + 1);
      std::size_t least = 0;
      for (std::size_t i = 1; i < count; ++i) {
        if (group.keys[i] < group.keys[least]) least = i;
      }
      if (!(group.keys[least] < key)) break;
      put(at, group.blocks[least], group.keys[least]);
      at = begin + least;
    }
    put(at, b, key);
  }

  huge_vector<Group> groups_;
  huge_vector<std::uint32_t> place_;  // \shape (capacity): node of each block
  std::size_t size_ = 0;
};

}  // namespace quire::eviction
