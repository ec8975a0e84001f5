#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/indexed_heap.hpp>
#include <quire/eviction/score_order.hpp>

namespace quire::eviction {

/// Priority: gives up the least urgent blocks first (BlockContext::priority, greater is less urgent),
/// of equals the least recently used.
///
/// A priority may be for a time (BlockContext::duration), from each use on; when it is over, the block
/// falls to `after`. Ranges of a prompt with priorities of their own are the request's
/// (Request::priorities): the system prompt at its head urgent for ever, say.
/// \unit duration: insertions and accesses of the pool, for no policy reads a clock.
/// \complexity O(log8 capacity) amortised (each expiry is paid for by the use that set it).
/// \errors none: victim() is empty when nothing is evictable.
/// \source TensorRT-LLM, KvCacheRetentionConfig (token ranges with priority and duration).
/// Deviations: there 100 is most urgent and durations are in milliseconds.
class Priority {
 public:
  static constexpr std::string_view name = "priority";
  explicit Priority(BlockCount capacity,
                    std::int32_t after = std::numeric_limits<std::int32_t>::max())
      : after_(after), order_(capacity), expiry_(capacity) {}

  void on_insert(BlockId b, const BlockContext& context) { used(b, context); }
  void on_access(BlockId b, const BlockContext& context) { used(b, context); }
  void set_evictable(BlockId b, bool evictable) { order_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    order_.remove(b);
    if (expiry_.contains(b)) expiry_.erase(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const { return order_.victim(); }

 private:
  struct Key {
    std::int64_t urgency = 0;
    std::uint64_t last_use = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  static std::int64_t urgency(std::int32_t priority) { return -std::int64_t{priority}; }

  void used(BlockId b, const BlockContext& context) {
    ++now_;
    order_.set_key(b, {urgency(context.priority), now_});
    if (expiry_.contains(b)) expiry_.erase(b);
    if (context.duration > 0) {
      expiry_.push(b, {static_cast<std::int64_t>(now_ + context.duration), now_});
    }
    for (auto due = expiry_.top();
         due && expiry_.key(*due).urgency <= static_cast<std::int64_t>(now_); due = expiry_.top()) {
      expiry_.erase(*due);
      order_.set_key(*due, {urgency(after_), order_.key(*due).last_use});
    }
  }

  std::int32_t after_;
  ScoreOrder<Key> order_;
  IndexedHeap<Key> expiry_;  // blocks whose priority lapses, by when
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<Priority>);

}  // namespace quire::eviction
