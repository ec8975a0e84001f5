#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Skip-join multi-level feedback queue: a request joins the highest queue whose quantum covers its
/// prompt, runs while it is in the highest non-empty queues, sinks one queue when its quantum is used
/// up, and returns to the top after waiting for starvation_limit.
/// A queue's quantum is first_quantum * 2^level units of service; an output token is one unit, a
/// prompt prompt_tokens_per_unit tokens a unit, the ratio of prefill to decode cost.
/// \complexity O(1) a question; queues are sorted in every step. \errors none.
/// \source Wu et al., "FastServe", 2305.05920. Deviation: quanta are counted in tokens, not in profiled
/// iteration times, and swapping is reactive (the offload slot's), not proactive.
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
    if (waits && now - group.timeline.waiting_since >= starvation_limit) return 0;
    return known->second.level;
  }
  [[nodiscard]] Admission admit(const BatchState& state, const SequenceGroup& group) const {
    return has_seats(state, group) ? Admission::admit : Admission::hold;
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    switch (event) {
      case SchedulerEvent::arrive:
        jobs_[group.request.id] = {level_for(group.prompt_length()), 0};
        break;
      case SchedulerEvent::resume:
        if (group.timeline.resumed - group.timeline.waiting_since >= starvation_limit) {
          jobs_[group.request.id] = {0, 0};
        }
        break;
      case SchedulerEvent::prompt_tokens:
        use(jobs_[group.request.id], static_cast<double>(tokens.value) / prompt_tokens_per_unit);
        break;
      case SchedulerEvent::output_tokens:
        use(jobs_[group.request.id],
            static_cast<double>(tokens.value) /
                static_cast<double>(std::max(group.running_sequences(), std::int64_t{1})));
        break;
      case SchedulerEvent::finish:
        jobs_.erase(group.request.id);
        break;
      case SchedulerEvent::admit:
      case SchedulerEvent::preempt:
        break;
    }
  }
  /// Requests that it keeps an account of.
  [[nodiscard]] std::size_t jobs() const { return jobs_.size(); }

 private:
  struct Job {
    int level = 0;
    double used = 0;  // of this level's quantum
  };
  static void use(Job& job, double units) {
    job.used += units;
    if (job.used < quantum(job.level) || job.level + 1 >= levels) return;
    ++job.level;
    job.used = 0;
  }
  static double quantum(int level) { return first_quantum * static_cast<double>(1 << level); }
  static int level_for(Tokens prompt) {
    const double service = static_cast<double>(prompt.value) / prompt_tokens_per_unit;
    int level = 0;
    while (level + 1 < levels && quantum(level) < service) ++level;
    return level;
  }

  std::unordered_map<RequestId, Job> jobs_;
};
static_assert(SchedulerPolicy<Mlfq>);

}  // namespace quire::scheduler
