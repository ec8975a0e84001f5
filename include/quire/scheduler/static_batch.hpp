#pragma once

#include <string_view>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Request-level batching with padding: an idle engine takes up to max_batch waiting requests, pads
/// their prompts to the longest, and runs until the last has finished; nobody joins or leaves early,
/// and finished sequences go on computing padding.
/// \complexity O(1) a question. \errors none.
/// \source generate() of Hugging Face Transformers on a batch; the baseline of Yu et al., OSDI '22.
class StaticBatch : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "static_batch";
  static constexpr bool drains = true;
  static constexpr bool pads = true;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] Admission admit(const BatchState& state, const SequenceGroup&) const {
    return state.idle && state.admitted_groups < limits_.max_batch ? Admission::admit
                                                                   : Admission::hold;
  }
  /// The batch's prompts are one product, however long.
  [[nodiscard]] Tokens allot(const BatchState&, Tokens remaining) const { return remaining; }
};
static_assert(SchedulerPolicy<StaticBatch>);

}  // namespace quire::scheduler
