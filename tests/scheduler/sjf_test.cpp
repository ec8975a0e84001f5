#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/sjf.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(Sjf, AdmitsTheShortestWaitingAndLeavesTheRunningAlone) {
  const std::vector<Job> list{
      {.at = 0, .tokens = 10}, {.at = 1, .tokens = 7}, {.at = 2, .tokens = 2}};
  EXPECT_EQ(ends<scheduler::Sjf>(list), (std::vector<double>{10, 19, 12}));
}

TEST(Sjf, AnOracleThatKnowsNothingIsFirstComeFirstServed) {
  const auto list = random_jobs(4, 200, 0.95);
  EXPECT_EQ(ends<scheduler::BasicSjf<scheduler::length_oracle::None>>(list),
            ends<scheduler::Fcfs>(list));
}

TEST(Sjf, ShortensTheMeanWaitMoreTheMoreTheOracleKnows) {
  using namespace scheduler;
  double perfect = 0, bucketed = 0, fcfs = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    auto list = random_jobs(seed, 300, 0.95);
    for (Job& job : list) job.tokens *= 40;  // so that a bucket of 205 tokens tells them apart
    for (Job& job : list) job.at *= 40;
    perfect += mean_latency(list, ends<Sjf>(list));
    bucketed += mean_latency(list, ends<BasicSjf<length_oracle::Bucketed<10>>>(list));
    fcfs += mean_latency(list, ends<Fcfs>(list));
  }
  EXPECT_LT(perfect, bucketed);
  EXPECT_LT(bucketed, fcfs);
}

TEST(Sjf, IsNamedByItsOracle) {
  using namespace scheduler;
  EXPECT_EQ(Sjf::name, "sjf");
  EXPECT_EQ((BasicSjf<length_oracle::Bucketed<10>>::name), "sjf+bucketed10");
  EXPECT_EQ((BasicSjf<length_oracle::Noisy<50>>::name), "sjf+noisy50");
}

TEST(Sjf, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Sjf>(); }

}  // namespace
}  // namespace quire::scheduler_test
