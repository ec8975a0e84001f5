#pragma once

#include <algorithm>
#include <string_view>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Stall-free batching: every decode runs in every step, and what is left of the chunk goes to
/// prompts, which are cut to fit. First come, first served.
/// \complexity O(1) a question. \errors none.
/// \source Agrawal et al., "Sarathi-Serve", OSDI '24, algorithm 3.
class ChunkedPrefill : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "chunked_prefill";
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] Admission admit(const BatchState& state, const SequenceGroup& group) const {
    return has_seats(state, group) && state.batched_tokens < limits_.chunk ? Admission::admit
                                                                           : Admission::hold;
  }
  /// A decode (one token) always runs; a prompt takes what is left of the chunk.
  [[nodiscard]] Tokens allot(const BatchState& state, Tokens remaining) const {
    if (remaining == Tokens{1}) return remaining;
    return std::clamp(limits_.chunk - state.batched_tokens, Tokens{0}, remaining);
  }
};
static_assert(SchedulerPolicy<ChunkedPrefill>);

}  // namespace quire::scheduler
