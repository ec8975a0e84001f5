// mechanism: an LRU queue in two segments, the second for blocks that were hit in the first.
#pragma once

#include <cstddef>
#include <optional>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/recency_queues.hpp>

namespace quire::eviction {

/// Probation and protected segment: what SLRU is, and what W-TinyLFU's main space is made of.
/// A block enters the back of probation; a hit moves it to the back of the protected segment, whose
/// oldest returns to probation when it holds more than `protected_most`.
/// \complexity O(1) amortised; searches O(log64 capacity). No allocation after construction.
class SegmentedQueue {
 public:
  SegmentedQueue(BlockCount capacity, std::size_t protected_most)
      : protected_most_(protected_most), queues_(capacity) {}

  [[nodiscard]] std::size_t size() const {
    return queues_.size(on_probation) + queues_.size(is_protected);
  }
  [[nodiscard]] bool contains(BlockId b) const { return queues_.contains(b); }

  /// \pre absent
  void append(BlockId b, bool evictable) { queues_.append(on_probation, b, evictable); }
  /// \pre present
  void hit(BlockId b) {
    queues_.move_to_back(is_protected, b);
    if (queues_.size(is_protected) > protected_most_) {
      queues_.move_to_back(on_probation, *queues_.oldest(is_protected));
    }
  }
  /// \pre present
  void set_evictable(BlockId b, bool evictable) { queues_.set_evictable(b, evictable); }
  /// \pre present
  void erase(BlockId b) { queues_.erase(b); }
  /// The oldest evictable block of probation, or else of the protected segment.
  [[nodiscard]] std::optional<BlockId> victim() const {
    const std::optional<BlockId> b = queues_.oldest_evictable(on_probation);
    return b ? b : queues_.oldest_evictable(is_protected);
  }

 private:
  using Queues = RecencyQueues<2>;
  static constexpr Queues::Queue on_probation = Queues::Queue::first,
                                 is_protected = Queues::Queue::second;

  std::size_t protected_most_;
  Queues queues_;
};

}  // namespace quire::eviction
