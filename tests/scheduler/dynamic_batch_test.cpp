#include <quire/scheduler/dynamic_batch.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(DynamicBatch, StartsWhenFullOrWhenTheOldestHasWaitedLongEnough) {
  const scheduler::DynamicBatch batch(SchedulerLimits{.max_batch = 4, .max_delay = 2.0});
  BatchState state;
  state.oldest_arrival = 10.0;
  state.now = 11.0;
  state.waiting_groups = 3;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::hold);
  EXPECT_EQ(batch.wake_at(state), Seconds{12.0});
  state.now = 12.0;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::admit);
  state.now = 11.0;
  state.waiting_groups = 4;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::admit);
}

TEST(DynamicBatch, FillsABatchThatHasStartedUpToItsSize) {
  const scheduler::DynamicBatch batch(SchedulerLimits{.max_batch = 4, .max_delay = 2.0});
  BatchState state;
  state.admitted_groups = 3;  // of four that waited: one is left, and it is young
  state.waiting_groups = 1;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::admit);
  state.admitted_groups = 4;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::hold);
  state.admitted_groups = 0;
  state.idle = false;
  state.now = 1000.0;
  EXPECT_EQ(batch.admit(state, group(10)), Admission::hold);
}

TEST(DynamicBatch, HasNothingToWakeForWhenNobodyWaits) {
  const scheduler::DynamicBatch batch(SchedulerLimits{.max_delay = 2.0});
  EXPECT_FALSE(batch.wake_at(BatchState{}).has_value());
  EXPECT_TRUE(scheduler::DynamicBatch::drains);
  EXPECT_FALSE(scheduler::DynamicBatch::pads);
}

TEST(DynamicBatch, SurvivesRandomWorkloads) {
  survives_random_workloads<scheduler::DynamicBatch>();
}

}  // namespace
}  // namespace quire::scheduler_test
