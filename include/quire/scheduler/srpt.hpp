#pragma once

#include <algorithm>
#include <string_view>

#include <quire/engine/override.hpp>
#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/length_oracle.hpp>

namespace quire::scheduler {

/// Shortest remaining processing time first: in every step the requests with the fewest predicted
/// tokens left run, and take the place of longer ones.
/// \complexity O(1) a question, plus the oracle's; who runs is sorted in every step, who waits is not.
/// \errors none.
/// \source Schrage, "A Proof of the Optimality of the Shortest Remaining Processing Time Discipline",
/// Operations Research 1968. Deviation: time left is counted in output tokens; prompts count nothing.
template <class LengthOracle>
class BasicSrpt : public ArrivalOrder {
 public:
  static constexpr std::string_view base = "srpt";
  static constexpr std::string_view name =
      quire::detail::JoinedWords<base, LengthOracle::name>::value;
  static constexpr bool dynamic_rank = true;
  static constexpr bool preemptive = true;
  using ArrivalOrder::ArrivalOrder;

  /// A request that outruns its prediction counts as nearly done: it has no better estimate.
  [[nodiscard]] double rank(const SequenceGroup& group, Seconds) const {
    const double left =
        LengthOracle::predict(group.request) - static_cast<double>(group.generated().value);
    return std::max(left, 0.0);
  }
  /// Nothing is generated while a request waits.
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup&, Seconds) const {
    return never;
  }
};

/// With perfect knowledge, as in replay.
class Srpt : public BasicSrpt<length_oracle::Perfect> {
 public:
  static constexpr std::string_view name = "srpt";
  using BasicSrpt::BasicSrpt;
};
static_assert(SchedulerPolicy<Srpt>);

}  // namespace quire::scheduler
