#pragma once

#include <string_view>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Iteration-level scheduling: requests join and leave in any iteration, in order of arrival, at most
/// max_sequences at once. Memory for all of a request is reserved when it joins, so nobody is preempted.
/// \complexity O(1) a question. \errors none.
/// \source Yu et al., "Orca", OSDI '22, algorithm 1; with contiguous reservations, the Orca baselines
/// of Kwon et al., SOSP '23.
class Orca : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "orca";
  static constexpr bool never_preempts = true;
  using ArrivalOrder::ArrivalOrder;
};
static_assert(SchedulerPolicy<Orca>);

}  // namespace quire::scheduler
