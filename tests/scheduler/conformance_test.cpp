#include "tests/scheduler/conformance.hpp"

#include <gtest/gtest.h>

namespace quire::scheduler_test {
namespace {

template <class Policy>
class SchedulerConformance : public ::testing::Test {};
using Policies = as_gtest_types<all_policies>::type;
TYPED_TEST_SUITE(SchedulerConformance, Policies);

TYPED_TEST(SchedulerConformance, AllotsNoMoreThanRemainsAndSomethingToAnEmptyBatch) {
  Rng rng(1);
  for (int i = 0; i < 20000; ++i) {
    const TypeParam scheduler(random_limits(rng));
    BatchState state = idle_state(rng);
    state.batched_tokens = static_cast<std::int64_t>(rng.below(5000));
    const Tokens remaining = 1 + static_cast<std::int64_t>(rng.below(5000));
    const Tokens given = scheduler.allot(state, remaining);
    ASSERT_GE(given, Tokens{0});
    ASSERT_LE(given, remaining);
    state.batched_tokens = 0;
    ASSERT_GT(scheduler.allot(state, remaining), Tokens{0});
  }
}

TYPED_TEST(SchedulerConformance, NeverLeavesAnIdleEngineIdleForGood) {
  Rng rng(2);
  for (int i = 0; i < 20000; ++i) {
    const TypeParam scheduler(random_limits(rng));
    BatchState state = idle_state(rng);
    const SequenceGroup waiting =
        group(1 + static_cast<std::int64_t>(rng.below(3000)),
              1 + static_cast<std::int32_t>(rng.below(8)), state.oldest_arrival);
    if (scheduler.admit(state, waiting) == Admission::admit) continue;
    const std::optional<Seconds> wake = scheduler.wake_at(state);
    ASSERT_TRUE(wake.has_value());
    ASSERT_GT(*wake, state.now);
    state.now = *wake;
    ASSERT_EQ(scheduler.admit(state, waiting), Admission::admit);
  }
}

TYPED_TEST(SchedulerConformance, HoldsWhenItsBatchIsFull) {
  Rng rng(3);
  for (int i = 0; i < 20000; ++i) {
    const SchedulerLimits limits = random_limits(rng);
    const TypeParam scheduler(limits);
    BatchState state = idle_state(rng);
    state.now = state.oldest_arrival + Seconds{1000.0};
    const bool by_request = TypeParam::drains;
    state.idle = by_request && rng.below(2) == 0;
    state.running_sequences = limits.max_sequences;
    state.running_groups = std::max(limits.max_batch, limits.max_sequences);
    state.admitted_groups = by_request && state.idle ? limits.max_batch : 0;
    ASSERT_EQ(scheduler.admit(state, group(10)), Admission::hold);
  }
}

TYPED_TEST(SchedulerConformance, RanksAreNumbers) {
  const TypeParam scheduler(SchedulerLimits{});
  const double rank = scheduler.rank(group(10), 5.0);
  EXPECT_EQ(rank, rank);
  if (!TypeParam::dynamic_rank) {
    EXPECT_EQ(rank, scheduler.rank(group(10), 500.0));
  }
}

}  // namespace
}  // namespace quire::scheduler_test
