// mechanism: an LRU queue in two segments, the second for blocks that were hit in the first.
#pragma once

#include <cstddef>
#include <optional>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// Probation and protected segment: what SLRU is, and what W-TinyLFU's main space is made of.
/// A block enters the back of probation; a hit moves it to the back of the protected segment, whose
/// oldest returns to probation when it holds more than `protected_most`.
/// \complexity O(1) amortised; searches O(log64 capacity). No allocation after construction.
class SegmentedQueue {
 public:
  SegmentedQueue(BlockCount capacity, std::size_t protected_most)
      : protected_most_(protected_most), probation_(capacity), protected_(capacity) {}

  [[nodiscard]] std::size_t size() const { return probation_.size() + protected_.size(); }
  [[nodiscard]] bool contains(BlockId b) const {
    return probation_.contains(b) || protected_.contains(b);
  }

  /// \pre absent
  void append(BlockId b, bool evictable) {
    probation_.append(b);
    if (evictable) probation_.set_evictable(b, true);
  }
  /// \pre present
  void hit(BlockId b) {
    if (protected_.contains(b)) return protected_.move_to_back(b);
    move(b, probation_, protected_);
    if (protected_.size() > protected_most_) move(*protected_.oldest(), protected_, probation_);
  }
  /// \pre present
  void set_evictable(BlockId b, bool evictable) { of(b).set_evictable(b, evictable); }
  /// \pre present
  void erase(BlockId b) { of(b).erase(b); }
  /// The oldest evictable block of probation, or else of the protected segment.
  [[nodiscard]] std::optional<BlockId> victim() const {
    const std::optional<BlockId> b = probation_.oldest_evictable();
    return b ? b : protected_.oldest_evictable();
  }

 private:
  using Queue = OrderedSlots<false>;
  Queue& of(BlockId b) { return protected_.contains(b) ? protected_ : probation_; }
  static void move(BlockId b, Queue& from, Queue& to) {
    const bool evictable = from.evictable(b);
    from.erase(b);
    to.append(b);
    if (evictable) to.set_evictable(b, true);
  }

  std::size_t protected_most_;
  Queue probation_;
  Queue protected_;
};

}  // namespace quire::eviction
