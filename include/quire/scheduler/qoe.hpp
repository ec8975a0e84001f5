#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <unordered_map>

#include <quire/scheduler/arrival_order.hpp>

namespace quire::scheduler {

/// Quality of experience: those requests run whose readers would lose most by waiting, a token of
/// context each.
///
/// A reader expects the first token after `ttft` and `speed` tokens a second from then on, and never reads
/// faster. Quality at a time is the area under the curve of tokens read over that under the expected
/// one. Running a request for `horizon` instead of leaving it adds to the first area what lies between two
/// lines of slope `speed`, one that goes on, one that stops when what is there has been read; the gain in
/// quality over the tokens of context is the request's rank, and the engine fills memory and seats with
/// the best, which is the greedy answer to the paper's knapsack. What waits is never looked at while all
/// that there is fits. Once as many preemptions have happened as requests have come, times
/// preemptions_per_request, nobody who runs is preempted by rank from the next step on.
/// \complexity O(1) a question; who runs is sorted in every step, who waits is not. \errors none.
/// \source Liu et al., "Andes", arXiv 2404.16283, sections 3 and 4. Deviation: a request that runs is taken
/// to get tokens as fast as they are read; the batch size is not searched over but what fits.
class Qoe : public ArrivalOrder {
 public:
  static constexpr std::string_view name = "qoe";
  static constexpr bool dynamic_rank = true;
  static constexpr bool preemptive = true;
  static constexpr Seconds ttft = 1.0;
  static constexpr double speed = 4.8;  // tokens a second
  static constexpr Seconds horizon = 10.0;
  static constexpr double preemptions_per_request = 1;
  using ArrivalOrder::ArrivalOrder;

  [[nodiscard]] double rank(const SequenceGroup& group, Seconds now) const {
    if (group.status == GroupStatus::running &&
        static_cast<double>(preemptions_) >=
            preemptions_per_request * static_cast<double>(requests_)) {
      return -std::numeric_limits<double>::infinity();
    }
    const auto context = group.prompt_length() + group.generated();
    return -gain(group, now) / static_cast<double>(context.value);
  }
  /// Two readers who have nothing left to read gain in proportion to 1 / (context * whole^2), where whole
  /// grows with time: their order changes once at most, at a time that can be told. Two for whom nothing
  /// has been due yet gain all that there is. Where one still reads it is only said how fast gains may
  /// change, then and after. Gains that differ by less than 1e-9 of themselves may be in either order
  /// after rounding, and are looked at again.
  [[nodiscard]] Seconds stands_until(const SequenceGroup& a, const SequenceGroup& b,
                                     Seconds now) const {
    constexpr double close = 1e-9;
    const Reading x = reading(a, now), y = reading(b, now);
    const double margin = close * (1 + std::abs(now.value));
    double left = std::numeric_limits<double>::infinity();  // seconds
    const bool same_due = x.due == y.due && x.root == y.root;
    if (x.idle && y.idle) {
      if (same_due) return never;
      const double gap = y.root * y.whole * (1 - close) - x.root * x.whole;
      const double growth = y.root * (1 - close) - x.root;
      if (gap <= 0) return now;
      if (growth < 0) left = gap / -growth;
    } else if (x.unread() && y.unread()) {
      left = (std::min(x.due, y.due) - now).value;
    } else {
      for (const Reading& r : {x, y}) {
        if (r.lost <= 0) left = std::min(left, -r.lost);
      }
      // what they are made of decides: times since may be equal after rounding, and not be so later
      const bool alike = same_due && x.read == y.read;
      if (x.lost > 0 && y.lost > 0 && !alike) {
        const double gap =
            std::log(x.lost / x.whole / x.root) - std::log(y.lost / y.whole / y.root);
        double speed = 1 / x.whole + 1 / y.whole;
        for (const Reading& r : {x, y}) speed += r.idle ? 0 : 1 / r.lost;
        left = std::min(left, (gap - close) / speed);
      }
    }
    return left > margin ? now + left - margin : now;
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    switch (event) {
      case SchedulerEvent::arrive:
        ++requests_;
        break;
      case SchedulerEvent::preempt:
        ++preemptions_;
        break;
      case SchedulerEvent::output_tokens: {
        const auto readers =
            static_cast<double>(std::max(group.running_sequences(), std::int64_t{1}));
        Seconds& end = read_until_.try_emplace(group.request.id, due(group)).first->second;
        end = std::max(end, group.timeline.last_token) +
              static_cast<double>(tokens.value) / readers / speed;
        break;
      }
      case SchedulerEvent::finish:
        read_until_.erase(group.request.id);
        break;
      case SchedulerEvent::admit:
      case SchedulerEvent::resume:
      case SchedulerEvent::prompt_tokens:
        break;
    }
  }

  /// Quality that a request gains at now + horizon by running until then; 0 to 1.
  [[nodiscard]] double gain(const SequenceGroup& group, Seconds now) const {
    const auto known = read_until_.find(group.request.id);
    const Seconds read = known == read_until_.end() ? due(group) : known->second;
    const Seconds end = now + horizon;
    const Seconds whole = end - due(group);          // the expected curve has risen for so long
    const Seconds lost = end - std::max(read, now);  // and the reader would sit idle for so long
    if (whole <= Seconds{0.0} || lost <= Seconds{0.0}) return 0;
    const double share = lost.value / whole.value;
    return share * share;  // of two triangles of one slope
  }
  /// Requests that it keeps an account of.
  [[nodiscard]] std::size_t readers() const { return read_until_.size(); }

 private:
  [[nodiscard]] static Seconds due(const SequenceGroup& group) {
    return group.timeline.arrival + ttft;
  }

  /// What the gain of a request that waits is made of, in seconds, and the root of its context.
  struct Reading {
    Seconds due = 0.0, read = 0.0;  // points in time
    bool idle = false;              // nothing is left to read
    double whole = 0, lost = 0, root = 1;
    [[nodiscard]] bool unread() const { return !idle && read == due; }
  };
  [[nodiscard]] Reading reading(const SequenceGroup& group, Seconds now) const {
    const auto known = read_until_.find(group.request.id);
    const Seconds read = known == read_until_.end() ? due(group) : known->second;
    const auto context = static_cast<double>((group.prompt_length() + group.generated()).value);
    return {.due = due(group),
            .read = read,
            .idle = read <= now,
            .whole = (now + horizon - due(group)).value,
            .lost = (now + horizon - std::max(read, now)).value,
            .root = std::sqrt(context)};
  }

  std::unordered_map<RequestId, Seconds> read_until_;  // when the tokens that are there are read
  std::int64_t requests_ = 0, preemptions_ = 0;
};
static_assert(SchedulerPolicy<Qoe>);

}  // namespace quire::scheduler
