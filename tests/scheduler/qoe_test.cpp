#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/qoe.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include <quire/metrics/qoe.hpp>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

using scheduler::Qoe;

/// The gain by the paper's definition, with both curves followed in small steps: a reader whose tokens
/// came at `tokens`, who from `now` on gets as many as can be read, or none.
double naive_gain(double arrival, const std::vector<double>& tokens, double now) {
  constexpr double step = 1e-3;
  const double due = arrival + Qoe::ttft.value, end = now + Qoe::horizon.value;
  double served = 0, waiting = 0, area = 0, whole = 0;
  for (double t = arrival; t < end; t += step) {
    const auto there = static_cast<double>(
        std::count_if(tokens.begin(), tokens.end(), [&](double at) { return at <= t; }));
    if (t < due) continue;
    if (t >= now || served < there) served += Qoe::speed * step;
    if (waiting < there) waiting += Qoe::speed * step;
    area += (served - waiting) * step;
    whole += Qoe::speed * (t - due) * step;
  }
  return whole > 0 ? area / whole : 0;
}

TEST(Qoe, GainIsTheAreaBetweenReadingOnAndRunningOut) {
  Rng rng(3);
  for (int trial = 0; trial < 60; ++trial) {
    Qoe qoe{SchedulerLimits{}};
    SequenceGroup g = group(20);
    g.timeline.arrival = rng.uniform() * 5;
    qoe.charge(SchedulerEvent::arrive, g, 20);
    std::vector<double> tokens;
    double now = g.timeline.arrival.value + rng.uniform() * 4;
    for (std::uint64_t n = rng.below(25); n-- > 0; now += rng.uniform() * 0.4) {
      g.timeline.last_token = now;
      tokens.push_back(now);
      qoe.charge(SchedulerEvent::output_tokens, g, 1);
    }
    now += rng.uniform() * 3;
    EXPECT_NEAR(qoe.gain(g, now), naive_gain(g.timeline.arrival.value, tokens, now), 5e-3);
  }
}

TEST(Qoe, WhoHasMuchToReadGainsNothing) {
  Qoe qoe{SchedulerLimits{}};
  SequenceGroup g = group(20);
  qoe.charge(SchedulerEvent::arrive, g, 20);
  g.timeline.last_token = 0.1;
  for (int i = 0; i < 100; ++i) qoe.charge(SchedulerEvent::output_tokens, g, 1);
  EXPECT_EQ(qoe.gain(g, 1.0), 0);
  qoe.charge(SchedulerEvent::finish, g, 0);
  EXPECT_EQ(qoe.readers(), 0u);
}

/// Twenty steps a second: four times as fast as anyone reads.
struct Fast {
  static constexpr std::string_view name = "fast";
  explicit Fast(const CostInputs&) {}
  [[nodiscard]] StepCost cost(const StepPlan&) const { return {.seconds = 0.05}; }
};

template <class Scheduler>
double mean_qoe(double gap, std::int64_t& preemptions) {
  Rng rng(11);
  std::vector<Job> list;
  double at = 0;
  for (int i = 0; i < 120; ++i) {
    list.push_back({.at = at, .tokens = static_cast<std::int64_t>(20 + rng.below(100))});
    at += rng.exponential(gap);
  }
  auto engine = make_engine<Scheduler, Fast>(4);
  const Report report = replay(engine, jobs(list));
  double sum = 0;
  for (const auto& r : report.records) sum += metrics::qoe(r);
  preemptions = report.counters.preemptions;
  return sum / static_cast<double>(list.size());
}

TEST(Qoe, InOverloadReadersFareBetterThanInOrderOfArrival) {
  std::int64_t preemptions = 0, none = 0;
  const double qoe = mean_qoe<Qoe>(0.6, preemptions), fcfs = mean_qoe<scheduler::Fcfs>(0.6, none);
  EXPECT_GT(qoe, 1.2 * fcfs);
  EXPECT_GT(preemptions, 0);
  EXPECT_LE(preemptions, 120 + 4);  // one a request in the mean, and what one step may add
}

TEST(Qoe, WithSeatsForAllNobodyIsPreempted) {
  std::int64_t preemptions = 0;
  EXPECT_GT(mean_qoe<Qoe>(5.0, preemptions), 0.99);
  EXPECT_EQ(preemptions, 0);
}

TEST(Qoe, SurvivesRandomWorkloads) { survives_random_workloads<Qoe>(); }

}  // namespace
}  // namespace quire::scheduler_test
