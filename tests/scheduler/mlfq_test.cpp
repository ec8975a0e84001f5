#include <quire/scheduler/mlfq.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

using scheduler::Mlfq;

SequenceGroup job(std::uint64_t id, std::int64_t prompt) {
  SequenceGroup g = group(prompt);
  g.request.id = RequestId{id};
  return g;
}

TEST(Mlfq, ALongPromptSkipsTheQueuesWhoseQuantumItWouldUseUp) {
  Mlfq mlfq{SchedulerLimits{}};
  // quanta of 8, 16, 32 ... units, 64 prompt tokens a unit
  const std::pair<std::int64_t, double> cases[] = {
      {1, 0}, {512, 0}, {513, 1}, {1024, 1}, {1025, 2}};
  std::uint64_t id = 0;
  for (const auto& [prompt, level] : cases) {
    const SequenceGroup g = job(++id, prompt);
    mlfq.charge(SchedulerEvent::arrive, g, prompt);
    EXPECT_EQ(mlfq.rank(g, 0.0), level) << prompt;
  }
}

TEST(Mlfq, SinksOneQueueWhenItsQuantumIsUsedUp) {
  Mlfq mlfq{SchedulerLimits{}};
  SequenceGroup g = job(1, 10);
  g.status = GroupStatus::running;
  mlfq.charge(SchedulerEvent::arrive, g, 10);
  for (int token = 1; token <= 8 + 16; ++token) {
    mlfq.charge(SchedulerEvent::output_tokens, g, 1);
    EXPECT_EQ(mlfq.rank(g, 0.0), token < 8 ? 0 : token < 24 ? 1 : 2) << token;
  }
}

TEST(Mlfq, ThePromptUsesUpPartOfTheQuantum) {
  Mlfq mlfq{SchedulerLimits{}};
  SequenceGroup g = job(1, 384);  // 6 of the first queue's 8 units
  g.status = GroupStatus::running;
  mlfq.charge(SchedulerEvent::arrive, g, 384);
  mlfq.charge(SchedulerEvent::prompt_tokens, g, 256);
  mlfq.charge(SchedulerEvent::prompt_tokens, g, 128);
  mlfq.charge(SchedulerEvent::output_tokens, g, 1);
  EXPECT_EQ(mlfq.rank(g, 0.0), 0);
  mlfq.charge(SchedulerEvent::output_tokens, g, 1);
  EXPECT_EQ(mlfq.rank(g, 0.0), 1);
}

TEST(Mlfq, ForgetsARequestWhenItEndsHoweverItEnds) {
  live_in_a_tight_pool<Mlfq>(
      [](const auto& engine) { EXPECT_EQ(engine.scheduler().jobs(), engine.requests().size()); });
}

TEST(Mlfq, ANewRequestRunsBeforeOnesThatHaveRunLong) {
  const std::vector<Job> list{{.at = 0, .tokens = 100}, {.at = 40, .tokens = 4}};
  EXPECT_EQ(ends<Mlfq>(list), (std::vector<double>{104, 44}));
}

TEST(Mlfq, NobodyStarvesUnderAStreamOfShortRequests) {
  std::vector<Job> list{{.at = 0, .tokens = 200}};
  for (int i = 0; i < 400; ++i) list.push_back({.at = 4.0 * i, .tokens = 4});  // one seat is full
  const auto end = ends<Mlfq>(list);
  // without promotion the long request would wait for the last short one, at 1600
  EXPECT_LT(end[0], 1200);
  for (double e : end) EXPECT_GT(e, 0);
}

TEST(Mlfq, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Mlfq>(); }

}  // namespace
}  // namespace quire::scheduler_test
