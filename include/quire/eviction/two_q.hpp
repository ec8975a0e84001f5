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

/// 2Q: new blocks pass through a FIFO queue; those wanted again after they left it enter an LRU
/// queue.
///
/// A1in is a FIFO of a quarter of the capacity, A1out the names of the last half a capacity of
/// blocks that left it, Am an LRU queue. A block whose name is in A1out enters Am, any other A1in.
/// A hit in Am moves the block to the back; a hit in A1in changes nothing (a correlated reference).
/// A1in gives up its oldest while it is longer than its share, otherwise Am does. When the queue
/// whose turn it is has nothing evictable, it is the other's turn. \complexity on_* O(1) amortised;
/// victim O(log64 capacity). \errors none: victim() is empty when nothing is evictable. \source
/// Johnson, Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement Algorithm",
/// VLDB '94, full version with Kin = 25 % and Kout = 50 %.
class TwoQ {
 public:
  static constexpr std::string_view name = "two_q";
  explicit TwoQ(BlockCount capacity)
      : in_most_(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 4))),
        queues_(capacity),
        out_(std::max<std::int64_t>(1, capacity.value / 2)),
        content_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    content_[b.value] = context.content;
    queues_.append(out_.erase(context.content) ? main : in, b);
  }
  void prefetch(std::uint64_t content) const { out_.prefetch(content); }
  void on_access(BlockId b, const BlockContext&) { queues_.refresh(main, b); }
  void set_evictable(BlockId b, bool evictable) { queues_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    const bool passed = queues_.queue(b) == in && victim() == b;
    queues_.erase(b);
    if (!passed) return;
    out_.push(content_[b.value]);
    prefetch_next();
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const bool in_turn = queues_.size(in) > in_most_ || !queues_.any_evictable(main);
    return queues_.oldest_evictable(in_turn && queues_.any_evictable(in) ? in : main);
  }

 private:
  using Queues = RecencyQueues<2>;
  using Queue = Queues::Queue;
  static constexpr Queue in = Queue::first, main = Queue::second;

  /// As Arc's, of A1in.
  void prefetch_next() const {
    const auto [next, then] = queues_.prefetch_oldest(in);
    if (next) out_.prefetch(content_[next->value]);
    if (then) quire::prefetch(&content_[then->value]);
  }

  std::size_t in_most_;
  Queues queues_;
  GhostList out_;
  huge_vector<std::uint64_t> content_;
};
static_assert(EvictionPolicy<TwoQ>);

}  // namespace quire::eviction
