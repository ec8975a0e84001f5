#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include <quire/engine/override.hpp>
#include <quire/scheduler/length_oracle.hpp>
#include <quire/scheduler/vtc.hpp>

namespace quire::scheduler {

/// Virtual token counters that charge the predicted output when a request is admitted, tokens beyond the
/// prediction as they come, and give back what was charged and never generated when it ends. A client
/// cannot have many long requests admitted before the first token of them is counted.
/// \complexity as Vtc, plus the oracle's once a request. \errors none.
/// \source Sheng et al., "Fairness in Serving Large Language Models", OSDI '24 (VTC with length
/// prediction). Deviation: the prediction comes from a LengthOracle.
template <class LengthOracle>
class BasicPredictiveVtc : public Vtc {
 public:
  static constexpr std::string_view base = "predictive_vtc";
  static constexpr std::string_view name =
      quire::detail::JoinedWords<base, LengthOracle::name>::value;
  using Vtc::Vtc;

  [[nodiscard]] double client_rank(const SequenceGroup& group) const {
    return counter(group.request.tenant);
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    const TenantId tenant = group.request.tenant;
    if (event == SchedulerEvent::output_tokens) {
      const auto prepaid = prepaid_.find(group.request.id);
      if (prepaid != prepaid_.end()) {
        const Tokens covered = std::min(prepaid->second, tokens);
        prepaid->second -= covered;
        tokens -= covered;
      }
    }
    account(event, group, tokens, prompt_weight, output_weight);
    if (event == SchedulerEvent::admit && !prepaid_.contains(group.request.id)) {
      const auto each = static_cast<std::int64_t>(LengthOracle::predict(group.request));
      const Tokens all = std::max<std::int64_t>(each, 0) * group.running_sequences();
      prepaid_[group.request.id] = all;
      add(tenant, output_weight * static_cast<double>(all.value));
    } else if (event == SchedulerEvent::finish) {
      const auto prepaid = prepaid_.find(group.request.id);
      if (prepaid == prepaid_.end()) return;
      add(tenant, -output_weight * static_cast<double>(prepaid->second.value));
      prepaid_.erase(prepaid);
    }
  }
  /// Requests whose output has been charged ahead.
  [[nodiscard]] std::size_t charged_ahead() const { return prepaid_.size(); }

 private:
  std::unordered_map<RequestId, Tokens> prepaid_;  // tokens charged that have not been generated
};

/// With perfect knowledge, as in replay.
class PredictiveVtc : public BasicPredictiveVtc<length_oracle::Perfect> {
 public:
  static constexpr std::string_view name = "predictive_vtc";
  using BasicPredictiveVtc::BasicPredictiveVtc;
};
static_assert(SchedulerPolicy<PredictiveVtc>);

}  // namespace quire::scheduler
