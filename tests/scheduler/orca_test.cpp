#include <quire/scheduler/orca.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(Orca, JoinsInAnyIterationUpToMaxSequences) {
  const scheduler::Orca orca(SchedulerLimits{.max_sequences = 4});
  BatchState state;
  state.idle = false;
  for (state.running_sequences = 0; state.running_sequences < 4; ++state.running_sequences) {
    EXPECT_EQ(orca.admit(state, group(10)), Admission::admit);
  }
  EXPECT_EQ(orca.admit(state, group(10)), Admission::hold);
  EXPECT_FALSE(orca.wake_at(state).has_value());
  EXPECT_TRUE(scheduler::Orca::never_preempts);
}

TEST(Orca, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Orca>(); }

}  // namespace
}  // namespace quire::scheduler_test
