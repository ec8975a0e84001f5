#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/mlfq.hpp>
#include <quire/scheduler/sjf.hpp>
#include <quire/scheduler/srpt.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

/// One server, one token a second: in every second the job with the fewest tokens left, ties to the
/// earlier arrival.
std::vector<double> naive_srpt(const std::vector<Job>& list) {
  std::vector<std::int64_t> left;
  for (const Job& job : list) left.push_back(job.tokens);
  std::vector<double> end(list.size(), -1);
  std::size_t done = 0;
  for (double now = 0; done < list.size(); now += 1) {
    std::size_t best = list.size();
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i].at > now || left[i] == 0) continue;
      if (best == list.size() || left[i] < left[best]) best = i;
    }
    if (best == list.size()) continue;
    if (--left[best] == 0) {
      end[best] = now + 1;
      ++done;
    }
  }
  return end;
}

TEST(Srpt, EqualsTheNaiveModelOnOneServer) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto list = random_jobs(seed, 200, 0.9);
    ASSERT_EQ(ends<scheduler::Srpt>(list), naive_srpt(list)) << "seed " << seed;
  }
}

TEST(Srpt, WithAPerfectOracleHasTheLeastMeanLatencyOfAllOnOneServer) {
  using namespace scheduler;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto list = random_jobs(100 + seed, 200, 0.95);
    const double srpt = mean_latency(list, ends<Srpt>(list));
    EXPECT_LE(srpt, mean_latency(list, ends<Fcfs>(list)));
    EXPECT_LE(srpt, mean_latency(list, ends<Sjf>(list)));
    EXPECT_LE(srpt, mean_latency(list, ends<Mlfq>(list)));
    EXPECT_LE(srpt, mean_latency(list, ends<BasicSrpt<length_oracle::Noisy<100>>>(list)));
  }
}

TEST(Srpt, SurvivesRandomWorkloads) { survives_random_workloads<scheduler::Srpt>(); }

}  // namespace
}  // namespace quire::scheduler_test
