#pragma once

#include <string_view>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// The most urgent requests run, whoever came first: a waiting request of smaller Request::priority
/// takes the place of running ones of larger priority; equals go by arrival.
/// \complexity O(1) a question. \errors none.
/// \source vLLM's scheduling policy "priority", key (priority, arrival), victim of the largest key.
/// Deviation: as many are preempted in a step as the urgent ones need, vLLM one at a time.
class Priority : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "priority";
  static constexpr bool preemptive = true;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds) const {
    return group.request.priority;
  }
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup&, Seconds) const {
    return never;
  }
};
static_assert(SchedulerPolicy<Priority>);

}  // namespace quire::scheduler
