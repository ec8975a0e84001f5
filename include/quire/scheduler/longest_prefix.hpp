#pragma once

#include <string_view>

#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/concepts.hpp>

namespace quire::scheduler {

/// SGLang's cache-aware order: the waiting request with the longest cached prefix is admitted first, so
/// that requests which share a prefix run while it is there; who runs goes on running, and where
/// blocks run out the latest arrival is preempted.
///
/// Waiting requests are looked up in the prefix index again when a block enters or goes at the place
/// where their match had ended; where tiers below the device keep text too, in every step. Nothing bounds
/// how long a request without a prefix waits.
/// \complexity O(1) a question; who runs is sorted in every step. A step looks up requests of which more
/// or less may be cached than before it: with tiers below the device all that wait, as SGLang does.
/// \errors none.
/// \source Zheng et al., "SGLang: Efficient Execution of Structured Language Model Programs",
/// NeurIPS '24, algorithm 1. Deviation: who runs is not reordered, as in SGLang's implementation.
class LongestPrefix : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "longest_prefix";
  static constexpr bool dynamic_rank = true;
  static constexpr bool wants_cached_prefix = true;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds) const {
    // ranks of the running ones are all equal: they keep the order of their arrival
    if (group.status == GroupStatus::running) return 0;
    return -static_cast<double>(group.cached_prefix.value);
  }
  /// The engine says when what is cached of a group changes.
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup&, Seconds) const {
    return never;
  }
};
static_assert(SchedulerPolicy<LongestPrefix>);

}  // namespace quire::scheduler
