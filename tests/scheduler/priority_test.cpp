#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/priority.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(Priority, AnUrgentRequestTakesTheSeatOfALessUrgentOneAtOnce) {
  const std::vector<Job> list{{.at = 0, .tokens = 10, .priority = 5},
                              {.at = 3, .tokens = 4, .priority = 1}};
  EXPECT_EQ(ends<scheduler::Priority>(list), (std::vector<double>{14, 7}));
  EXPECT_EQ(ends<scheduler::Fcfs>(list), (std::vector<double>{10, 14}));
}

TEST(Priority, EqualsGoByArrivalAndDoNotPreemptEachOther) {
  const std::vector<Job> list{
      {.at = 0, .tokens = 5}, {.at = 1, .tokens = 1}, {.at = 2, .tokens = 1}};
  EXPECT_EQ(ends<scheduler::Priority>(list), (std::vector<double>{5, 6, 7}));
}

TEST(Priority, PreemptsOnlyAsManyAsTheUrgentOneNeeds) {
  std::vector<Job> list(4, Job{.at = 0, .tokens = 20, .priority = 3});
  list.push_back({.at = 5, .tokens = 2, .priority = 0});
  auto engine = make_engine<scheduler::Priority>(4);
  const Report report = replay(engine, jobs(list));
  EXPECT_EQ(report.counters.preemptions, 1);
  EXPECT_EQ(report.records.front().id, RequestId{4});
  EXPECT_EQ(report.records.front().finished, Seconds{7.0});
}

TEST(Priority, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Priority>(); }

}  // namespace
}  // namespace quire::scheduler_test
