#include <quire/scheduler/static_batch.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(StaticBatch, StartsFromIdleOnlyAndTakesWhatWaits) {
  const scheduler::StaticBatch batch(SchedulerLimits{.max_batch = 3});
  BatchState state;
  state.waiting_groups = 1;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::admit);
  state.admitted_groups = 2;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::admit);
  state.admitted_groups = 3;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::hold);
  state.admitted_groups = 0;
  state.idle = false;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::hold);
}

TEST(StaticBatch, ComputesPromptsWholeHoweverLong) {
  const scheduler::StaticBatch batch(SchedulerLimits{.max_batched_tokens = 10});
  BatchState state;
  state.batched_tokens = 5000;
  EXPECT_EQ(batch.allot(state, 2000), Tokens{2000});
  EXPECT_TRUE(scheduler::StaticBatch::drains);
  EXPECT_TRUE(scheduler::StaticBatch::pads);
}

TEST(StaticBatch, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::StaticBatch>(); }

}  // namespace
}  // namespace quire::scheduler_test
