#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <quire/engine/engine.hpp>
#include <quire/workload/provenance.hpp>

namespace quire::experiment {

/// Replays a workload until `until` or until all requests have ended, whichever is first.
/// each_step(engine, stats): called after every iteration; engine.now() is its end.
/// Requests arrive at their own times; the engine sees none before.
template <class Engine, class EachStep>
void replay_until(Engine& engine, const workload::Workload& workload, Seconds until,
                  EachStep&& each_step) {
  std::size_t next = 0;
  const auto& requests = workload.requests;
  constexpr double never = std::numeric_limits<double>::infinity();
  while (engine.now() < until) {
    while (next < requests.size() && requests[next].arrival <= engine.now()) {
      engine.submit(requests[next++]);
    }
    const Seconds arrival = next < requests.size() ? requests[next].arrival : Seconds{never};
    if (!engine.has_work()) {
      if (arrival.value == never) return;
      engine.advance_to(arrival);
      continue;
    }
    const auto& stats = engine.step();
    if (stats.idle) {
      const Seconds wake = std::min(stats.wake_at.value_or(Seconds{never}), arrival);
      if (wake.value == never || wake <= engine.now()) return;  // nothing will ever change
      engine.advance_to(wake);
      continue;
    }
    each_step(std::as_const(engine), stats);
  }
}

/// A mean in which each value counts for a weight.
class WeightedMean {
 public:
  void add(double value, double weight) {
    sum_ += value * weight;
    weight_ += weight;
  }
  [[nodiscard]] double value() const { return sum_ / weight_; }
  [[nodiscard]] bool empty() const { return weight_ == 0; }

 private:
  double sum_ = 0;
  double weight_ = 0;
};

/// Averages over time what a figure shows of memory and batch, within a window.
class MemoryObserver {
 public:
  MemoryObserver(Seconds from, Seconds to) : from_(from), to_(to) {}

  template <class Engine, class Stats>
  void operator()(const Engine& engine, const Stats& stats) {
    const Seconds end = std::min(engine.now(), to_);
    const Seconds begin = std::max(engine.now() - stats.seconds, from_);
    if (end <= begin) return;
    const double weight = (end - begin).value;
    const MemoryUsage& u = stats.usage;
    token_states.add(100 * ratio(u.token_states, u.capacity), weight);
    reserved.add(100 * ratio(u.reserved, u.capacity), weight);
    internal.add(100 * ratio(u.internal, u.capacity), weight);
    rounding.add(100 * ratio(u.rounding, u.capacity), weight);
    free.add(100 * ratio(u.free, u.capacity), weight);
    batched.add(static_cast<double>(stats.running_groups), weight);
    if (u.physical_blocks > BlockCount{0}) {
      sharing.add(ratio(u.logical_blocks, u.physical_blocks), 1);
    }
  }

  WeightedMean token_states, reserved, internal, rounding, free;  // percent of the capacity
  WeightedMean batched;                                           // requests in the batch
  WeightedMean sharing;  // logical over physical blocks, by step

 private:
  Seconds from_, to_;
};

/// Normalized latency of the requests that arrived from `from` on and have ended: end-to-end
/// latency over output length. \unit seconds a token
struct LatencyObserver {
  Seconds from = 0.0;
  std::vector<double> normalized{};
  std::size_t rejected = 0;
  double last_finish = 0;
  std::int64_t output_tokens = 0;

  template <class Engine>
  void collect(Engine& engine) {
    for (const auto& group : engine.take_finished()) {
      if (group->timeline.finished < Seconds{0.0} || !group->error.empty()) {
        ++rejected;
        continue;
      }
      std::int64_t longest = 0;
      for (const Sequence& s : group->sequences) {
        const std::int64_t output = (s.length - group->prompt_length()).value;
        output_tokens += output;
        longest = std::max(longest, output);
      }
      last_finish = std::max(last_finish, group->timeline.finished.value);
      if (group->timeline.arrival < from || longest == 0) continue;
      normalized.push_back((group->timeline.finished - group->timeline.arrival).value /
                           static_cast<double>(longest));
    }
  }
};

}  // namespace quire::experiment
