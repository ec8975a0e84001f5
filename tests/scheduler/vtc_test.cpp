#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/vtc.hpp>

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

using scheduler::Vtc;

SequenceGroup of_client(std::uint32_t tenant, std::int64_t prompt) {
  SequenceGroup g = group(prompt);
  g.request.tenant = TenantId{tenant};
  return g;
}

TEST(Vtc, ChargesPromptsOnceAndOutputsTwice) {
  Vtc vtc{SchedulerLimits{}};
  const SequenceGroup g = of_client(7, 100);
  vtc.charge(SchedulerEvent::arrive, g, 100);
  EXPECT_EQ(vtc.counter(TenantId{7}), 0);
  vtc.charge(SchedulerEvent::admit, g, 100);
  vtc.charge(SchedulerEvent::output_tokens, g, 3);
  EXPECT_EQ(vtc.counter(TenantId{7}), 106);
}

TEST(Vtc, AClientThatPausedIsLiftedToTheSmallestBackloggedCounter) {
  Vtc vtc{SchedulerLimits{}};
  const SequenceGroup a = of_client(1, 100), b = of_client(2, 300), c = of_client(3, 10);
  for (const auto* g : {&a, &b}) vtc.charge(SchedulerEvent::arrive, *g, g->prompt_length());
  for (const auto* g : {&a, &b}) vtc.charge(SchedulerEvent::admit, *g, g->prompt_length());
  vtc.charge(SchedulerEvent::arrive, b, 300);  // client 2 waits, at 300
  vtc.charge(SchedulerEvent::arrive, c, 10);
  EXPECT_EQ(vtc.counter(TenantId{3}), 300);
  vtc.charge(SchedulerEvent::arrive, a, 100);  // client 1 comes back: min over 2 and 3 is 300
  EXPECT_EQ(vtc.counter(TenantId{1}), 300);
}

TEST(Vtc, AClientThatFindsAnEmptyQueueIsLiftedToTheLastThatLeftIt) {
  Vtc vtc{SchedulerLimits{}};
  const SequenceGroup a = of_client(1, 100), b = of_client(2, 300), c = of_client(3, 10);
  for (const auto* g : {&a, &b}) vtc.charge(SchedulerEvent::arrive, *g, g->prompt_length());
  for (const auto* g : {&b, &a}) vtc.charge(SchedulerEvent::admit, *g, g->prompt_length());
  vtc.charge(SchedulerEvent::arrive, c, 10);
  EXPECT_EQ(vtc.counter(TenantId{3}), 100);  // client 1 left last
  vtc.charge(SchedulerEvent::finish, c, 0);  // cancelled while it waits
  EXPECT_EQ(vtc.queued(TenantId{3}), 0);
  vtc.charge(SchedulerEvent::output_tokens, c, 20);
  const SequenceGroup d = of_client(4, 10);
  vtc.charge(SchedulerEvent::arrive, d, 10);
  EXPECT_EQ(vtc.counter(TenantId{4}), 140);  // now client 3 did
}

TEST(Vtc, AGroupThatWaitsForItsRecomputeCountsAsQueuedAndIsChargedOnce) {
  Vtc vtc{SchedulerLimits{}};
  SequenceGroup a = of_client(1, 10), b = of_client(2, 10);
  vtc.charge(SchedulerEvent::arrive, a, 10);
  vtc.charge(SchedulerEvent::admit, a, 10);
  a.status = GroupStatus::swapped;
  vtc.charge(SchedulerEvent::preempt, a, 0);
  EXPECT_EQ(vtc.queued(TenantId{1}), 0);  // what is swapped comes back without being admitted
  vtc.charge(SchedulerEvent::resume, a, 0);
  a.status = GroupStatus::waiting;
  vtc.charge(SchedulerEvent::preempt, a, 0);
  EXPECT_EQ(vtc.queued(TenantId{1}), 1);
  vtc.charge(SchedulerEvent::admit, a, 0);
  EXPECT_EQ(vtc.queued(TenantId{1}), 0);
  EXPECT_EQ(vtc.counter(TenantId{1}), 10);
  a.status = GroupStatus::running;
  vtc.charge(SchedulerEvent::finish, a, 0);
  // client 2 is served long and has more to come: client 1 is lifted when it returns
  vtc.charge(SchedulerEvent::arrive, b, 10);
  vtc.charge(SchedulerEvent::admit, b, 10);
  vtc.charge(SchedulerEvent::output_tokens, b, 1000);
  vtc.charge(SchedulerEvent::arrive, b, 10);
  vtc.charge(SchedulerEvent::arrive, a, 10);
  EXPECT_EQ(vtc.counter(TenantId{1}), 2020);
}

// Through admissions, preemptions, ends, cancellations and refusals.
TEST(Vtc, KnowsHowManyOfEachClientWaitInTheEngine) {
  live_in_a_tight_pool<Vtc>([](const auto& engine) {
    for (std::uint32_t tenant = 0; tenant < 3; ++tenant) {
      const auto waiting =
          std::count_if(engine.requests().begin(), engine.requests().end(), [&](const auto& g) {
            return g->request.tenant == TenantId{tenant} && g->status == GroupStatus::waiting;
          });
      EXPECT_EQ(engine.scheduler().queued(TenantId{tenant}), waiting);
    }
  });
}

TEST(Vtc, ServiceOfTwoBackloggedClientsDiffersByNoMoreThanThePapersBound) {
  Rng rng(5);
  for (int trial = 0; trial < 5; ++trial) {
    std::vector<Job> list;
    std::int64_t longest_prompt = 0;
    // client 0 sends three times as much, and first; both are backlogged from the start
    for (int i = 0; i < 400; ++i) {
      Job job{.at = 0, .tokens = static_cast<std::int64_t>(1 + rng.below(40))};
      job.prompt = static_cast<std::int64_t>(1 + rng.below(60));
      job.tenant = i < 300 ? 0 : 1;
      longest_prompt = std::max(longest_prompt, job.prompt);
      list.push_back(job);
    }
    const std::int64_t blocks = 60;
    auto engine = make_engine<Vtc>(16, blocks);
    const auto w = jobs(list);
    double service[2] = {0, 0};
    std::size_t waiting[2] = {300, 100};
    std::vector<bool> seen(list.size(), false);
    for (const Request& r : w.requests) engine.submit(r);
    const double bound = 2 * std::max(Vtc::prompt_weight * static_cast<double>(longest_prompt),
                                      Vtc::output_weight * static_cast<double>(blocks * 16));
    double worst = 0;
    while (engine.has_work() && waiting[0] > 0 && waiting[1] > 0) {
      engine.step();
      for (const SequencePlan& row : engine.last_plan().sequences) {
        const std::size_t id = row.request.value;
        const std::uint32_t tenant = list[id].tenant;
        if (!seen[id]) {
          seen[id] = true;
          --waiting[tenant];
          service[tenant] += Vtc::prompt_weight * static_cast<double>(list[id].prompt);
        } else {
          service[tenant] += Vtc::output_weight;
        }
      }
      worst = std::max(worst, std::abs(service[0] - service[1]));
    }
    EXPECT_LE(worst, bound);
    EXPECT_GT(service[1], 0);
  }
}

TEST(Vtc, SharesTheServerWhereFirstComeFirstServedWouldNot) {
  std::vector<Job> list;
  for (int i = 0; i < 50; ++i) list.push_back({.at = 0, .tokens = 10, .tenant = 0});
  list.push_back({.at = 1, .tokens = 10, .tenant = 1});
  EXPECT_LE(ends<Vtc>(list).back(), 30);
  EXPECT_EQ(ends<scheduler::Fcfs>(list).back(), 510);
}

TEST(Vtc, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Vtc>(); }

}  // namespace
}  // namespace quire::scheduler_test
