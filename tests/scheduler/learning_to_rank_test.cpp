#include <quire/scheduler/learning_to_rank.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

using Ranked = scheduler::BasicLearningToRank<scheduler::length_oracle::Perfect>;

/// One server, one token a second: in every second the job of the best rank, which is its length, or
/// ahead of all lengths while it starves or its quantum lasts.
std::vector<double> naive(const std::vector<Job>& list) {
  const std::size_t none = list.size();
  std::vector<std::int64_t> left, quantum(list.size(), 0);
  std::vector<double> since, end(list.size(), -1);
  for (const Job& job : list) {
    left.push_back(job.tokens);
    since.push_back(job.at);
  }
  std::size_t done = 0, running = none;
  for (double now = 0; done < list.size(); now += 1) {
    std::size_t best = none;
    double best_rank = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i].at > now || left[i] == 0) continue;
      const bool starves = i != running && now - since[i] >= Ranked::starvation_limit.value;
      const double rank = starves || quantum[i] > 0 ? -1 : static_cast<double>(list[i].tokens);
      if (rank < best_rank) {
        best = i;
        best_rank = rank;
      }
    }
    if (best == none) continue;
    if (best != running) {
      if (running != none) since[running] = now;
      if (now - since[best] >= Ranked::starvation_limit.value) quantum[best] = Ranked::quantum;
      running = best;
    }
    if (quantum[best] > 0) --quantum[best];
    if (--left[best] > 0) continue;
    end[best] = now + 1;
    running = none;
    ++done;
  }
  return end;
}

TEST(LearningToRank, EqualsTheNaiveModelOnOneServer) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto list = random_jobs(seed, 150, 0.95);
    ASSERT_EQ(ends<Ranked>(list), naive(list)) << "seed " << seed;
  }
}

TEST(LearningToRank, NobodyStarvesUnderAStreamOfShortRequests) {
  std::vector<Job> list{{.at = 0, .tokens = 100}};
  for (int i = 0; i < 400; ++i) list.push_back({.at = 4.0 * i, .tokens = 4});  // one seat is full
  const auto end = ends<Ranked>(list);
  EXPECT_LT(end[0], 300);  // without the guard it would wait for the last short one, at 1600
  for (const double e : end) EXPECT_GT(e, 0);
}

TEST(LengthOracle, RankCorrelationIsWhatItSays) {
  using namespace scheduler::length_oracle;
  Rng rng(9);
  std::vector<Request> requests(900);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].id = RequestId{i};
    requests[i].output_length =
        static_cast<std::int64_t>(std::ceil(std::exp(5.370 + 1.144 * rng.normal())));
  }
  const auto tau = [&](auto predict) {
    std::vector<double> truth, guess;
    for (const Request& r : requests) {
      truth.push_back(Perfect::predict(r));
      guess.push_back(predict(r));
    }
    std::int64_t sum = 0, pairs = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      for (std::size_t k = 0; k < i; ++k) {
        if (truth[i] == truth[k]) continue;
        sum += (truth[i] > truth[k]) == (guess[i] > guess[k]) ? 1 : -1;
        ++pairs;
      }
    }
    return static_cast<double>(sum) / static_cast<double>(pairs);
  };
  EXPECT_NEAR(tau(RankCorrelated<100>::predict), 1, 1e-9);
  EXPECT_NEAR(tau(RankCorrelated<50>::predict), 0.5, 0.05);
  EXPECT_NEAR(tau(RankCorrelated<0>::predict), 0, 0.05);
  EXPECT_EQ(RankCorrelated<50>::name, "rank_correlated50");
}

TEST(LearningToRank, SurvivesRandomWorkloads) { survives_random_workloads<Ranked>(); }

}  // namespace
}  // namespace quire::scheduler_test
