#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Skip-join multi-level feedback queue: a request joins the highest queue whose quantum covers its
/// prompt, runs while it is in the highest non-empty queues, sinks one queue when its quantum is used
/// up, and returns to the top after waiting for starvation_limit.
/// A queue's quantum is first_quantum * 2^level units of service; an output token is one unit, a
/// prompt prompt_tokens_per_unit tokens a unit, the ratio of prefill to decode cost.
/// \complexity O(1) a question; who runs is sorted in every step, who waits is not. \errors none.
/// \source Wu et al., "FastServe", 2305.05920. Deviation: quanta are counted in tokens, not in profiled
/// iteration times. Proactive swapping is the offload slot's (ProactiveSwap), in the order of next_turn().
class Mlfq : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "mlfq";
  static constexpr bool dynamic_rank = true;
  static constexpr bool preemptive = true;
  static constexpr int levels = 8;
  static constexpr double first_quantum = 8;
  static constexpr double prompt_tokens_per_unit = 64;
  static constexpr Seconds starvation_limit = 30.0;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds now) const {
    const auto known = jobs_.find(group.request.id);
    if (known == jobs_.end()) return level_for(group.prompt_length());
    const bool waits = group.status != GroupStatus::running;
    if (waits && now >= starves_at(group)) return 0;
    return known->second.level;
  }
  /// A place is lost only to one that returns to the top.
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup& b,
                                     Seconds now) const {
    const Seconds top = starves_at(b);
    return now < top ? top : never;
  }
  /// FastServe's estimated next scheduled time: until it returns to the top, or until all jobs of better
  /// queues have sunk to its own, none of them ending before, max_sequences of them served at once.
  [[nodiscard]] Seconds next_turn(const SequenceGroup& group, Seconds now) const {
    const int level = static_cast<int>(rank(group, now));
    double units = 0, span = 0;  // of service that others get first; from a level to this one
    for (int l = level; l-- > 0;) {
      span += quantum(l);
      units += span * static_cast<double>(jobs_at_[static_cast<std::size_t>(l)]);
    }
    const auto served = static_cast<double>(std::max(limits_.max_sequences, std::int64_t{1}));
    return std::min(std::max(starves_at(group) - now, Seconds{0.0}),
                    seconds_per_unit_ * (units / served));
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    switch (event) {
      case SchedulerEvent::arrive:
        move(jobs_[group.request.id], level_for(group.prompt_length()));
        break;
      case SchedulerEvent::resume:
        if (group.timeline.resumed >= starves_at(group)) {
          move(jobs_[group.request.id], 0);
        }
        break;
      case SchedulerEvent::prompt_tokens:
        use(jobs_[group.request.id], static_cast<double>(tokens.value) / prompt_tokens_per_unit);
        break;
      case SchedulerEvent::output_tokens:
        note_time(group.timeline.last_token);
        use(jobs_[group.request.id],
            static_cast<double>(tokens.value) /
                static_cast<double>(std::max(group.running_sequences(), std::int64_t{1})));
        break;
      case SchedulerEvent::finish:
        if (const auto job = jobs_.find(group.request.id); job != jobs_.end()) {
          move(job->second, nowhere);
          jobs_.erase(job);
        }
        break;
      case SchedulerEvent::admit:
      case SchedulerEvent::preempt:
        break;
    }
  }
  /// Requests that it keeps an account of.
  [[nodiscard]] std::size_t jobs() const { return jobs_.size(); }

 private:
  static constexpr int nowhere = -1;
  struct Job {
    int level = nowhere;
    double used = 0;  // of this level's quantum
  };
  /// Puts a job into a queue with its quantum ahead of it.
  void move(Job& job, int level) {
    if (job.level != nowhere) --jobs_at_[static_cast<std::size_t>(job.level)];
    if (level != nowhere) ++jobs_at_[static_cast<std::size_t>(level)];
    job = {level, 0};
  }
  /// A running job gets a unit a step: steps in the mean of late.
  void note_time(Seconds token) {
    if (token <= last_token_) return;
    const Seconds step = token - std::exchange(last_token_, token);
    constexpr double fresh = 0.1;
    seconds_per_unit_ += fresh * (step - seconds_per_unit_);
  }
  void use(Job& job, double units) {
    job.used += units;
    if (job.used < quantum(job.level) || job.level + 1 >= levels) return;
    move(job, job.level + 1);
  }
  static Seconds starves_at(const SequenceGroup& group) {
    return group.timeline.waiting_since + starvation_limit;
  }
  static double quantum(int level) { return first_quantum * static_cast<double>(1 << level); }
  static int level_for(Tokens prompt) {
    const double service = static_cast<double>(prompt.value) / prompt_tokens_per_unit;
    int level = 0;
    while (level + 1 < levels && quantum(level) < service) ++level;
    return level;
  }

  std::unordered_map<RequestId, Job> jobs_;
  std::array<std::int64_t, levels> jobs_at_{};  // by level
  Seconds last_token_ = 0.0, seconds_per_unit_ = 0.0;
};
static_assert(SchedulerPolicy<Mlfq>);

}  // namespace quire::scheduler
