#pragma once

#include <string_view>

#include <quire/scheduler/vtc.hpp>

namespace quire::scheduler {

/// Virtual token counters of clients with different claims: service is charged divided by the weight of
/// its request's client, so that a client of weight 2 gets twice what one of weight 1 gets.
/// \complexity as Vtc. \errors none; a weight that is not positive counts as 1.
/// \source Sheng et al., "Fairness in Serving Large Language Models", OSDI '24 (weighted VTC).
class WeightedVtc : public Vtc {
 public:
  static constexpr std::string_view name = "weighted_vtc";
  using Vtc::Vtc;

  [[nodiscard]] double client_rank(const SequenceGroup& group) const {
    return counter(group.request.tenant);
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    const double weight = group.request.weight > 0 ? group.request.weight : 1;
    account(event, group, tokens, prompt_weight / weight, output_weight / weight);
  }
};
static_assert(SchedulerPolicy<WeightedVtc>);

}  // namespace quire::scheduler
