#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/scheduler/scheduler.hpp>

/// What every scheduler promises.
/// - Questions change nothing: the same state gives the same answer.
/// - allot gives between 0 and what remains, and gives something of a whole prompt to an empty
///   batch, so that a long one cannot wait for ever.
/// - An idle engine with seats is never left idle for good: admit says yes, or wake_at names a
///   time, and at that time admit says yes.
/// - A batch that is full is held, unless nothing runs.
/// - Where a policy says how long groups that wait keep their order, or that ranks are of clients, the queue
///   that is kept by it stands at any time as if it had been sorted just then.
namespace quire::scheduler_test {

/// Every scheduler of the library; a new one is added here.
using all_policies =
    type_list<scheduler::ChunkedPrefill, scheduler::DynamicBatch, scheduler::Fcfs,
              scheduler::LearningToRank, scheduler::LongestPrefix, scheduler::Mlfq, scheduler::Orca,
              scheduler::PredictiveVtc, scheduler::Priority, scheduler::Qoe, scheduler::Sjf,
              scheduler::Srpt, scheduler::StaticBatch, scheduler::Vtc, scheduler::WeightedVtc>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

/// A group of `n` sequences that waits since `arrival`.
inline SequenceGroup group(std::int64_t prompt, std::int32_t n = 1, Seconds arrival = 0.0) {
  SequenceGroup g;
  g.request.prompt_length = prompt;
  g.request.sampling.n = n;
  g.timeline.arrival = arrival;
  g.sequences.resize(1);
  g.sequences[0].length = prompt;
  return g;
}

inline SchedulerLimits random_limits(Rng& rng) {
  auto up_to = [&rng](std::uint64_t n) { return static_cast<std::int64_t>(rng.below(n)); };
  return {.max_batched_tokens = 1 + up_to(4096),
          .max_sequences = 1 + up_to(300),
          .max_length = 2048,
          .watermark = 0.01,
          .max_batch = 1 + up_to(20),
          .max_delay = static_cast<double>(up_to(5)),
          .chunk = 1 + up_to(1024)};
}

/// A state in which nothing runs and at least one group waits.
inline BatchState idle_state(Rng& rng) {
  BatchState state;
  state.oldest_arrival = rng.uniform() * 100;
  state.now = state.oldest_arrival + Seconds{rng.uniform()};
  state.waiting_groups = 1 + static_cast<std::int64_t>(rng.below(30));
  return state;
}

}  // namespace quire::scheduler_test
