#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Request-level batching with a waiting time: an idle engine starts a batch when max_batch requests
/// wait or the oldest has waited max_delay, and runs it until the last has finished. Finished
/// sequences no longer compute, but their memory stays until the batch ends.
/// \complexity O(1) a question. \errors none.
/// \source the dynamic batcher of TorchServe (batch_size, max_batch_delay); with max_delay 0, the
/// scheduler around FasterTransformer of Kwon et al., SOSP '23, section 6.1.
class DynamicBatch : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "dynamic_batch";
  static constexpr bool drains = true;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] Admission admit(const BatchState& state, const SequenceGroup&) const {
    if (!state.idle || state.admitted_groups >= limits_.max_batch) return Admission::hold;
    if (state.admitted_groups > 0) return Admission::admit;
    const bool full = state.waiting_groups >= limits_.max_batch;
    return full || state.now >= deadline(state) ? Admission::admit : Admission::hold;
  }
  [[nodiscard]] Tokens allot(const BatchState&, Tokens remaining) const { return remaining; }
  [[nodiscard]] std::optional<Seconds> wake_at(const BatchState& state) const {
    if (state.waiting_groups == 0) return std::nullopt;
    return deadline(state);
  }

 private:
  [[nodiscard]] Seconds deadline(const BatchState& state) const {
    return state.oldest_arrival + limits_.max_delay;
  }
};
static_assert(SchedulerPolicy<DynamicBatch>);

}  // namespace quire::scheduler
