#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ghost_list.hpp>
#include <quire/eviction/recency_queues.hpp>

namespace quire::eviction {

/// ARC: balances a queue of blocks seen once (T1) against one of blocks seen again (T2) by which of
/// the two would have had the block that is missed now.
///
/// B1 and B2 remember the names of what T1 and T2 gave up; T1 and B1 together hold at most the
/// capacity, all four at most twice that. A name found in B1 raises the target size of T1, one
/// found in B2 lowers it, by the ratio of their lengths but at least 1; the block enters T2. Any
/// hit moves a block to the back of T2. T1 gives up its oldest while it is longer than the target,
/// else T2. When the queue whose turn it is has nothing evictable, it is the other's turn.
/// \complexity on_* O(1) amortised; victim O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Megiddo, Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST '03.
/// Deviations: room is made before the new block is known, so the tie |T1| = p is decided as for a
/// name that is not in B2, and the target moves after the eviction instead of before it; the ghosts
/// are trimmed when the block enters.
class Arc {
 public:
  static constexpr std::string_view name = "arc";
  explicit Arc(BlockCount capacity)
      : capacity_(static_cast<std::size_t>(capacity.value)),
        queues_(capacity),
        ghosts_(capacity * 2 + 1),
        content_(capacity_) {}

  void on_insert(BlockId b, const BlockContext& context) {
    content_[b.value] = context.content;
    const double b1 = static_cast<double>(ghosts_.size(0)),
                 b2 = static_cast<double>(ghosts_.size(1));
    const std::optional<std::size_t> ghost = ghosts_.take(context.content);
    if (ghost) {
      target_ = *ghost == 0
                    ? std::min(static_cast<double>(capacity_), target_ + std::max(1.0, b2 / b1))
                    : std::max(0.0, target_ - std::max(1.0, b1 / b2));
    }
    queues_.append(ghost ? again : once, b);
    trim();
  }
  void prefetch(std::uint64_t content) const { ghosts_.prefetch(content); }
  void on_access(BlockId b, const BlockContext&) { queues_.move_to_back(again, b); }
  void set_evictable(BlockId b, bool evictable) { queues_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    quire::prefetch(&content_[b.value]);
    const bool evicted = victim() == b;
    const Queue queue = queues_.queue(b);
    queues_.erase(b);
    if (!evicted) return;
    ghosts_.push(content_[b.value], {}, static_cast<std::size_t>(queue));
    prefetch_next(queue);
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const bool once_turn = static_cast<double>(queues_.size(once)) > target_;
    const Queue turn = once_turn ? once : again;
    return queues_.oldest_evictable(queues_.any_evictable(turn) ? turn : other(turn));
  }

 private:
  using Queues = RecencyQueues<2>;
  using Queue = Queues::Queue;
  static constexpr Queue once = Queue::first, again = Queue::second;  // T1, T2; ghosts B1, B2

  static Queue other(Queue q) { return q == once ? again : once; }
  /// The next victim is likely the next of the same queue: fetches where its name will go, and the
  /// name of the one behind it.
  void prefetch_next(Queue queue) const {
    const auto [next, then] = queues_.prefetch_oldest(queue);
    if (next) ghosts_.prefetch(content_[next->value]);
    if (then) quire::prefetch(&content_[then->value]);
  }
  void trim() {
    while (queues_.size(once) + ghosts_.size(0) > capacity_ && ghosts_.size(0) > 0) {
      ghosts_.pop_oldest(0);
    }
    const std::size_t all = queues_.size(once) + queues_.size(again) + ghosts_.size(0);
    while (all + ghosts_.size(1) > 2 * capacity_ && ghosts_.size(1) > 0) ghosts_.pop_oldest(1);
  }

  std::size_t capacity_;
  double target_ = 0;  // of the length of T1; "p" in the paper
  Queues queues_;
  TwoGhostLists ghosts_;
  huge_vector<std::uint64_t> content_;
};
static_assert(EvictionPolicy<Arc>);

}  // namespace quire::eviction
