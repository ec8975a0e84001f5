#include <quire/scheduler/mlfq.hpp>

#include <gtest/gtest.h>

#include <quire/offload/proactive_swap.hpp>

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

TEST(Mlfq, ExpectsATurnWhenBetterQueuesHaveSunkOrWaitingEnds) {
  Mlfq mlfq{SchedulerLimits{.max_sequences = 2}};
  SequenceGroup low = job(1, 1025), high = job(2, 10), other = job(3, 600);
  for (SequenceGroup* g : {&low, &high, &other}) {
    mlfq.charge(SchedulerEvent::arrive, *g, g->prompt_length());
    EXPECT_EQ(mlfq.next_turn(*g, 5.0), Seconds{0.0}) << "no step has been seen";
  }
  high.status = GroupStatus::running;
  high.timeline.last_token = 1.0;
  mlfq.charge(SchedulerEvent::output_tokens, high,
              1);  // steps of 0.1 s, by a mean that begins at 0
  EXPECT_EQ(mlfq.next_turn(high, 5.0), Seconds{0.0});
  EXPECT_DOUBLE_EQ(mlfq.next_turn(other, 5.0).value, 0.1 * 8 / 2);
  EXPECT_DOUBLE_EQ(mlfq.next_turn(low, 5.0).value, 0.1 * (8 + 16 + 16) / 2);
  EXPECT_EQ(mlfq.next_turn(low, 29.5), Seconds{0.5}) << "it returns to the top before";
  EXPECT_EQ(mlfq.next_turn(low, 31.0), Seconds{0.0});
}

using Ahead = offload::ProactiveSwap;

TEST(Mlfq, WhoMakesWayForASeatAloneKeepsItsBlocks) {
  auto engine = make_engine<Mlfq, OneSecond, Ahead>(1);
  (void)replay(engine,
               jobs({{.at = 0, .tokens = 100}, {.at = 40, .tokens = 4}, {.at = 60, .tokens = 30}}));
  EXPECT_GE(engine.counters().preemptions, 2);
  EXPECT_EQ(engine.counters().swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(engine.counters().recomputed_tokens, Tokens{0});
}

TEST(Mlfq, SwapsAheadOfNeedInBothDirections) {
  auto engine = make_engine<Mlfq, OneSecond, Ahead>(4, /*blocks=*/60);
  Rng rng(5);
  std::int64_t out_without_newcomers = 0, back_before_their_turn = 0;
  for (int step = 0; step < 3000; ++step) {
    if (step < 2000 && rng.below(24) == 0) {
      Request r;
      r.arrival = engine.now();
      r.prompt_length = static_cast<std::int64_t>(1 + rng.below(200));
      r.output_length = static_cast<std::int64_t>(1 + rng.below(200));
      engine.submit(std::move(r));
    }
    const StepStats& stats = engine.step();
    (void)engine.take_finished();
    if (stats.idle) {
      engine.advance_to(engine.now() + Seconds{1.0});
      continue;
    }
    const StepPlan& plan = engine.last_plan();
    if (plan.preempted.empty() && !plan.swap_out.empty()) ++out_without_newcomers;
    for (const auto& group : engine.requests()) {
      back_before_their_turn += group->parked > BlockCount{0} && !plan.swap_in.empty();
    }
  }
  EXPECT_FALSE(engine.has_work());
  EXPECT_GT(engine.counters().swapped_out_blocks, BlockCount{0});
  EXPECT_GT(out_without_newcomers, 10);
  EXPECT_GT(back_before_their_turn, 10);
}

TEST(Mlfq, NobodyStarvesWhoIsSwappedAhead) {
  std::vector<Job> list{{.at = 0, .tokens = 200}};
  for (int i = 0; i < 400; ++i) list.push_back({.at = 4.0 * i, .tokens = 4});
  const auto end = ends<Mlfq, Ahead>(list);
  EXPECT_LT(end[0], 1200);
  for (double e : end) EXPECT_GT(e, 0);
}

TEST(Mlfq, SurvivesRandomWorkloadsSwappingAhead) { survives_random_workloads<Mlfq, Ahead>(); }

TEST(Mlfq, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Mlfq>(); }

}  // namespace
}  // namespace quire::scheduler_test
