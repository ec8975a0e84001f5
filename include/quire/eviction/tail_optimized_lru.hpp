#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/recency_queues.hpp>

namespace quire::eviction {

/// Tail-optimised LRU: gives up first what a conversation's next turn can recompute within its
/// latency goal, then the least recently used of the rest.
///
/// A next turn that recomputes up to `threshold` tokens, about `next_prompt` of them new, is in time.
/// So the blocks within the last threshold - next_prompt tokens of a prompt are safe to lose, and a
/// short conversation is safe altogether; long ones, whose turns make the tail, keep their heads.
/// \complexity on_* O(1) amortised; victim O(log64 capacity).
/// \errors none: with an unknown prompt length (BlockContext::length 0) a block is never safe; LRU.
/// \source Zhang, Li, Moallemi, Peng, "Tail-Optimized Caching for LLM Inference", 2025 (arXiv
/// 2510.15152), after its published description. Deviations: the length of the conversation is that
/// of the prompt the block was last used for; the defaults are a goal of 2,048 tokens and new
/// prompts of 256, where the paper derives them from a latency goal and the workload's mean.
class TailOptimizedLru {
 public:
  static constexpr std::string_view name = "tail_optimized_lru";
  explicit TailOptimizedLru(BlockCount capacity, Tokens threshold = 2048, Tokens next_prompt = 256)
      : spare_(threshold > next_prompt ? threshold - next_prompt : Tokens{0}), queues_(capacity) {}

  void on_insert(BlockId b, const BlockContext& context) { queues_.append(queue(context), b); }
  void on_access(BlockId b, const BlockContext& context) {
    queues_.move_to_back(queue(context), b);
  }
  void set_evictable(BlockId b, bool evictable) { queues_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { queues_.erase(b); }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const std::optional<BlockId> b = queues_.oldest_evictable(safe);
    return b ? b : queues_.oldest_evictable(rest);
  }

 private:
  using Queues = RecencyQueues<2>;
  using Queue = Queues::Queue;
  static constexpr Queue safe = Queue::first, rest = Queue::second;

  [[nodiscard]] Queue queue(const BlockContext& context) const {
    const bool in_time = context.length > Tokens{0} && context.position + spare_ >= context.length;
    return in_time ? safe : rest;
  }

  Tokens spare_;  // tokens that the next turn can recompute beside its own
  Queues queues_;
};
static_assert(EvictionPolicy<TailOptimizedLru>);

}  // namespace quire::eviction
