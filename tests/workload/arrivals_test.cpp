#include <quire/workload/arrivals.hpp>

#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::Seconds;
using namespace quire::workload;

struct Gaps {
  double mean = 0;
  double cv = 0;
};
Gaps gaps_of(const std::vector<Seconds>& times) {
  double sum = 0;
  double squares = 0;
  double before = 0;
  for (const Seconds t : times) {
    const double gap = t.value - before;
    EXPECT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
    before = t.value;
  }
  const auto n = static_cast<double>(times.size());
  const double mean = sum / n;
  return {mean, std::sqrt(squares / n - mean * mean) / mean};
}

constexpr std::size_t many = 100000;

TEST(Arrivals, PoissonHasItsRateAndVariation) {
  const Gaps gaps = gaps_of(arrival_times(Poisson{2.0}, many, 1));
  EXPECT_NEAR(gaps.mean, 0.5, 0.01);
  EXPECT_NEAR(gaps.cv, 1.0, 0.02);
}

TEST(Arrivals, GammaHasItsRateAndVariation) {
  for (const double cv : {0.5, 1.0, 3.0}) {
    const Gaps gaps = gaps_of(arrival_times(Gamma{4.0, cv}, many, 1));
    EXPECT_NEAR(gaps.mean, 0.25, 0.25 * 0.01 * (1 + 3 * cv));
    EXPECT_NEAR(gaps.cv, cv, 0.05 * cv);
  }
}

TEST(Arrivals, QuantumPoissonArrivesInWholeQuanta) {
  const auto times = arrival_times(QuantumPoisson{2.0}, 20000, 1);
  EXPECT_NEAR(20000 / times.back().value, 2.0, 0.05);
  std::set<double> distinct;
  for (const Seconds t : times) {
    const double quanta = t.value / 0.01;
    EXPECT_NEAR(quanta, std::round(quanta), 1e-6);
    distinct.insert(t.value);
  }
  // Of n arrivals at 0.02 a quantum, about n * 0.02 / 2 find an earlier one in their quantum.
  EXPECT_NEAR(20000.0 - static_cast<double>(distinct.size()), 200, 60);
  // A crowded quantum: 5000 arrivals a second are 50 in each.
  EXPECT_NEAR(20000 / arrival_times(QuantumPoisson{5000.0}, 20000, 1).back().value, 5000, 150);
}

TEST(Arrivals, EvenlySpacedAndSaturatedAreExact) {
  const auto even = arrival_times(EvenlySpaced{4.0}, 9, 1);
  for (std::size_t i = 0; i < even.size(); ++i) {
    EXPECT_EQ(even[i].value, static_cast<double>(i) / 4);
  }
  for (const Seconds t : arrival_times(Saturated{}, 9, 1)) EXPECT_EQ(t.value, 0);
}

TEST(Arrivals, MarkovModulatedMixesItsRates) {
  // Half of the time at 1 and half at 9: 5 requests a second, burstier than Poisson.
  const Gaps gaps = gaps_of(arrival_times(MarkovModulated{1.0, 9.0, 20.0, 20.0}, many, 1));
  EXPECT_NEAR(gaps.mean, 0.2, 0.01);
  EXPECT_GT(gaps.cv, 1.3);
}

TEST(Arrivals, SameSeedSameTimesScaledByTheRate) {
  const auto slow = arrival_times(Poisson{1.0}, 100, 5);
  const auto fast = arrival_times(Poisson{2.0}, 100, 5);
  EXPECT_EQ(slow, arrival_times(Poisson{1.0}, 100, 5));
  EXPECT_NE(slow, arrival_times(Poisson{1.0}, 100, 6));
  for (std::size_t i = 0; i < 100; ++i) EXPECT_NEAR(slow[i].value, 2 * fast[i].value, 1e-9);
}

TEST(Arrivals, RefuseRatesThatAreNone) {
  const double nan = std::nan("");
  for (const double bad : {0.0, -1.0, nan, HUGE_VAL}) {
    EXPECT_THROW(static_cast<void>(arrival_times(Poisson{bad}, 1, 0)), quire::Error);
    EXPECT_THROW(static_cast<void>(arrival_times(Gamma{bad}, 1, 0)), quire::Error);
    EXPECT_THROW(static_cast<void>(arrival_times(Gamma{1, bad}, 1, 0)), quire::Error);
    EXPECT_THROW(static_cast<void>(arrival_times(QuantumPoisson{1, bad}, 1, 0)), quire::Error);
    EXPECT_THROW(static_cast<void>(arrival_times(EvenlySpaced{bad}, 1, 0)), quire::Error);
    EXPECT_THROW(static_cast<void>(arrival_times(MarkovModulated{1, bad}, 1, 0)), quire::Error);
  }
}

}  // namespace
