#pragma once

#include <string_view>

#include <quire/engine/override.hpp>
#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/length_oracle.hpp>

namespace quire::scheduler {

/// Shortest job first: the waiting request with the shortest predicted output is admitted first; who
/// runs goes on running, and where blocks run out the longest is preempted.
/// \complexity O(1) a question, plus the oracle's. \errors none.
/// \source Jin et al., "S3", NeurIPS '23; Fu et al., "Efficient LLM Scheduling by Learning to Rank",
/// 2024. Deviation: the prediction comes from a LengthOracle, not from a model of its own.
template <class LengthOracle>
class BasicSjf : public ArrivalOrder {
 public:
  static constexpr std::string_view base = "sjf";
  static constexpr std::string_view name =
      quire::detail::JoinedWords<base, LengthOracle::name>::value;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds) const {
    return LengthOracle::predict(group.request);
  }
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup&, Seconds) const {
    return never;
  }
};

/// With perfect knowledge, as in replay.
class Sjf : public BasicSjf<length_oracle::Perfect> {
 public:
  static constexpr std::string_view name = "sjf";
  using BasicSjf::BasicSjf;
};
static_assert(SchedulerPolicy<Sjf>);

}  // namespace quire::scheduler
