#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include <quire/engine/override.hpp>
#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/length_oracle.hpp>

namespace quire::scheduler {

/// Shortest predicted output first, with a guard against starvation: requests are ranked once, by their
/// prompt, and a lower rank preempts; one that has waited for starvation_limit goes to the front, and
/// stays there until it has generated `quantum` tokens.
/// \complexity O(1) a question, plus the oracle's; who runs is sorted in every step, who waits is not.
/// \errors none.
/// \source Fu et al., "Efficient LLM Scheduling by Learning to Rank", 2408.15792, algorithm 1.
/// Deviations: the rank comes from a LengthOracle, not from a trained model; waiting is counted in
/// seconds, not in iterations.
template <class LengthOracle>
class BasicLearningToRank : public ArrivalOrder {
 public:
  static constexpr std::string_view base = "learning_to_rank";
  static constexpr std::string_view name =
      quire::detail::JoinedWords<base, LengthOracle::name>::value;
  static constexpr bool dynamic_rank = true;
  static constexpr bool preemptive = true;
  static constexpr Seconds starvation_limit = 30.0;
  static constexpr std::int64_t quantum = 32;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds now) const {
    if (promoted_.contains(group.request.id) || starves(group, now)) return -1;
    return LengthOracle::predict(group.request);
  }
  /// A place is lost only to one that comes to the front.
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup& b,
                                     Seconds now) const {
    const Seconds front = starves_at(b);
    return now < front ? front : never;
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    switch (event) {
      case SchedulerEvent::resume:
        if (group.timeline.resumed >= starves_at(group)) {
          promoted_[group.request.id] = Tokens{quantum * group.running_sequences()};
        }
        break;
      case SchedulerEvent::output_tokens: {
        const auto left = promoted_.find(group.request.id);
        if (left != promoted_.end() && (left->second -= tokens) <= Tokens{0}) promoted_.erase(left);
        break;
      }
      case SchedulerEvent::finish:
        promoted_.erase(group.request.id);
        break;
      case SchedulerEvent::arrive:
      case SchedulerEvent::admit:
      case SchedulerEvent::prompt_tokens:
      case SchedulerEvent::preempt:
        break;
    }
  }
  /// Requests at the front because they had starved.
  [[nodiscard]] std::size_t promoted() const { return promoted_.size(); }

 private:
  [[nodiscard]] static bool starves(const SequenceGroup& group, Seconds now) {
    return group.status != GroupStatus::running && now >= starves_at(group);
  }
  [[nodiscard]] static Seconds starves_at(const SequenceGroup& group) {
    return group.timeline.waiting_since + starvation_limit;
  }

  std::unordered_map<RequestId, Tokens> promoted_;  // tokens of the quantum that are left
};

/// With a ranking that is half right: Kendall's tau 0.5 on lengths like ShareGPT's.
class LearningToRank : public BasicLearningToRank<length_oracle::RankCorrelated<50>> {
 public:
  static constexpr std::string_view name = "learning_to_rank";
  using BasicLearningToRank::BasicLearningToRank;
};
static_assert(SchedulerPolicy<LearningToRank>);

}  // namespace quire::scheduler
