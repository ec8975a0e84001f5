#pragma once

#include <string_view>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// vLLM's scheduler at its publication: first come, first served, in every iteration; prompts and
/// decodes share a step; a group runs whole or not at all; the latest arrival is preempted.
/// The watermark is applied by the memory, at SchedulerLimits::watermark.
/// \complexity O(1) a question. \errors none.
/// \source Kwon et al., SOSP '23, sections 4.3 and 4.5, and its artifact for the mixed batch.
class Fcfs : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "fcfs";
  using ArrivalOrder::ArrivalOrder;
};
static_assert(SchedulerPolicy<Fcfs>);

}  // namespace quire::scheduler
