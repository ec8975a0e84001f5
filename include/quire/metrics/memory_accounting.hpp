#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <quire/engine/step_stats.hpp>
#include <quire/metrics/weighted_mean.hpp>

namespace quire::metrics {

/// Where the KV slots of a pool went, as shares of its capacity. The six add up to 1.
/// \source Kwon et al., SOSP '23, Figure 2, which shows rounding and free slots together as
/// "external fragmentation & others".
struct MemoryShares {
  double token_states = 0;
  double reserved = 0;  // will hold a token before the sequence ends
  double internal = 0;  // given to a sequence that never uses them
  double rounding = 0;  // added by the allocator to make a run a power of two
  double holes = 0;     // lost their token inside a block that is kept (retention)
  double free = 0;

  [[nodiscard]] double external() const { return rounding + free; }
};

[[nodiscard]] inline MemoryShares shares_of(const MemoryUsage& u) {
  return {ratio(u.token_states, u.capacity), ratio(u.reserved, u.capacity),
          ratio(u.internal, u.capacity),     ratio(u.rounding, u.capacity),
          ratio(u.holes, u.capacity),        ratio(u.free, u.capacity)};
}

/// Averages of memory and batch over a run, or over a part of it.
/// Each average is kept twice: weighted by the time that an iteration took, and by iterations.
class MemoryAccounting {
 public:
  struct Averages {
    MemoryShares shares{};
    double running_requests = 0;
    double running_sequences = 0;
    double batched_tokens = 0;
    double sharing = 1;  // logical over physical blocks

    /// Share of blocks that sharing saves, from the mean ratio: how the paper's artifact computes
    /// Figure 15. The mean of ratios is not the ratio of means: see block_saving().
    [[nodiscard]] double saving_from_mean_ratio() const { return 1 - 1 / sharing; }
  };

  /// Iterations that end at or before `from`, or begin at or after `to`, do not count; of one that
  /// crosses a border only the part inside does.
  explicit MemoryAccounting(Seconds from, Seconds to = std::numeric_limits<double>::infinity())
      : from_(from), to_(to) {}
  MemoryAccounting() : MemoryAccounting(Seconds(0.0)) {}

  /// \pre now: the end of the iteration that stats describe.
  void add(const StepStats& stats, Seconds now) {
    if (stats.idle) return;
    const Seconds begin = std::max(now - stats.seconds, from_);
    const Seconds end = std::min(now, to_);
    if (end <= begin && !(stats.seconds == Seconds(0.0) && now > from_ && now <= to_)) return;
    const MemoryShares shares = shares_of(stats.usage);
    add_to(by_time_, shares, stats, (end - begin).value);
    add_to(by_iteration_, shares, stats, 1);
    logical_ += static_cast<double>(stats.usage.logical_blocks.value);
    physical_ += static_cast<double>(stats.usage.physical_blocks.value);
    peak_running_ = std::max(peak_running_, stats.running_groups);
    preempted_ += stats.preempted_groups;
  }

  [[nodiscard]] Averages by_time() const { return averages(by_time_); }
  [[nodiscard]] Averages by_iteration() const { return averages(by_iteration_); }
  /// Blocks saved by sharing over blocks without sharing, summed over iterations.
  [[nodiscard]] double block_saving() const { return logical_ > 0 ? 1 - physical_ / logical_ : 0; }
  [[nodiscard]] std::int64_t peak_running_requests() const { return peak_running_; }
  [[nodiscard]] std::int64_t preempted_requests() const { return preempted_; }
  [[nodiscard]] std::int64_t iterations() const {
    return static_cast<std::int64_t>(by_iteration_.token_states.weight());
  }

 private:
  struct Means {
    WeightedMean token_states, reserved, internal, rounding, holes, free;
    WeightedMean requests, sequences, tokens, sharing;
  };
  static void add_to(Means& m, const MemoryShares& s, const StepStats& stats, double weight) {
    m.token_states.add(s.token_states, weight);
    m.reserved.add(s.reserved, weight);
    m.internal.add(s.internal, weight);
    m.rounding.add(s.rounding, weight);
    m.holes.add(s.holes, weight);
    m.free.add(s.free, weight);
    m.requests.add(static_cast<double>(stats.running_groups), weight);
    m.sequences.add(static_cast<double>(stats.running_sequences), weight);
    m.tokens.add(static_cast<double>(stats.batched_tokens.value), weight);
    if (stats.usage.physical_blocks > BlockCount(0)) {
      m.sharing.add(ratio(stats.usage.logical_blocks, stats.usage.physical_blocks), weight);
    }
  }
  static Averages averages(const Means& m) {
    return {.shares = {m.token_states.value(), m.reserved.value(), m.internal.value(),
                       m.rounding.value(), m.holes.value(), m.free.value()},
            .running_requests = m.requests.value(),
            .running_sequences = m.sequences.value(),
            .batched_tokens = m.tokens.value(),
            .sharing = m.sharing.value()};
  }

  Seconds from_, to_;
  Means by_time_, by_iteration_;
  double logical_ = 0, physical_ = 0;
  std::int64_t peak_running_ = 0, preempted_ = 0;
};

}  // namespace quire::metrics
