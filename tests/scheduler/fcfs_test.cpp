#include <quire/scheduler/fcfs.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(Fcfs, AdmitsAGroupWholeOrNotAtAll) {
  const scheduler::Fcfs fcfs(SchedulerLimits{.max_sequences = 8});
  BatchState state;
  state.idle = false;
  state.running_sequences = 5;
  EXPECT_EQ(fcfs.admit(state, group(10, 3)), Admission::admit);
  EXPECT_EQ(fcfs.admit(state, group(10, 4)), Admission::hold);
}

TEST(Fcfs, RunsPromptsWholeWithinTheTokenBudget) {
  const scheduler::Fcfs fcfs(SchedulerLimits{.max_batched_tokens = 100});
  BatchState state;
  state.batched_tokens = 60;
  EXPECT_EQ(fcfs.allot(state, 40), Tokens{40});
  EXPECT_EQ(fcfs.allot(state, 41), Tokens{0});
  state.batched_tokens = 0;
  EXPECT_EQ(fcfs.allot(state, 500), Tokens{500});  // longer than the budget: a step of its own
}

TEST(Fcfs, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Fcfs>(); }

}  // namespace
}  // namespace quire::scheduler_test
