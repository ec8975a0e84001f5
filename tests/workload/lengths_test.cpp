#include <quire/workload/lengths.hpp>

#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::Rng;
using quire::Tokens;
using namespace quire::workload;

constexpr int draws = 100000;

std::vector<int> histogram(const LengthDistribution& lengths, std::size_t high) {
  Rng rng(3);
  std::vector<int> counts(high + 1);
  for (int i = 0; i < draws; ++i) {
    const Tokens t = draw_length(lengths, rng);
    EXPECT_GE(t, Tokens(1));
    EXPECT_LE(t, Tokens(static_cast<std::int64_t>(high)));
    ++counts[static_cast<std::size_t>(t.value)];
  }
  return counts;
}

TEST(Lengths, FixedAndUniform) {
  EXPECT_EQ(histogram(FixedLength{5}, 5)[5], draws);
  const auto counts = histogram(UniformLength{3, 6}, 6);
  for (std::size_t k = 3; k <= 6; ++k) EXPECT_NEAR(counts[k], draws / 4, 600);
  EXPECT_EQ(counts[1] + counts[2], 0);
}

TEST(Lengths, ZipfFollowsItsPowerLaw) {
  for (const double theta : {0.5, 1.0, 1.8}) {
    const auto counts = histogram(ZipfLength{11, 60, theta}, 60);
    double norm = 0;
    for (int k = 1; k <= 50; ++k) norm += std::pow(k, -theta);
    for (const int k : {1, 2, 3, 10, 50}) {
      const double expected = draws * std::pow(k, -theta) / norm;
      EXPECT_NEAR(counts[static_cast<std::size_t>(10 + k)], expected, 5 * std::sqrt(expected) + 1)
          << theta << " " << k;
    }
  }
}

TEST(Lengths, LogNormalHasItsMeanAndMedian) {
  const auto counts = histogram(LogNormalLength{58.45, 0.95, 2048}, 2048);
  double sum = 0;
  int below = 0;
  int median = 0;
  for (std::size_t t = 1; t < counts.size(); ++t) {
    sum += static_cast<double>(t) * counts[t];
    below += counts[t];
    if (median == 0 && below >= draws / 2) median = static_cast<int>(t);
  }
  EXPECT_NEAR(sum / draws, 58.45, 0.8);
  EXPECT_NEAR(median, 58.45 * std::exp(-0.95 * 0.95 / 2), 1.0);
}

TEST(Lengths, EmpiricalAndWeighted) {
  const auto empirical = histogram(EmpiricalLength{{4, 4, 9, 4}}, 9);
  EXPECT_NEAR(empirical[4], 0.75 * draws, 700);
  EXPECT_NEAR(empirical[9], 0.25 * draws, 700);
  const auto weighted = histogram(WeightedLength({0, 3, 0, 1, 0}), 5);
  EXPECT_NEAR(weighted[2], 0.75 * draws, 700);
  EXPECT_NEAR(weighted[4], 0.25 * draws, 700);
}

TEST(Lengths, ProbabilitiesPassThroughTheQuantiles) {
  for (const double slope : {0.0, 1.0, 1.5}) {
    const auto p = probabilities_from({{0.25, 10}, {0.5, 20.5}, {0.9, 100.5}}, 200, slope);
    ASSERT_EQ(p.size(), 200u);
    EXPECT_NEAR(std::accumulate(p.begin(), p.end(), 0.0), 1.0, 1e-12);
    EXPECT_NEAR(std::accumulate(p.begin(), p.begin() + 20, 0.0), 0.5, 1e-12);
    EXPECT_NEAR(std::accumulate(p.begin(), p.begin() + 100, 0.0), 0.9, 1e-12);
    for (const double x : p) EXPECT_GE(x, 0);
    // Evenly, or falling with the length.
    if (slope == 0) {
      EXPECT_NEAR(p[50], p[90], 1e-15);
    } else {
      EXPECT_GT(p[50], p[90]);
    }
  }
  EXPECT_THROW(static_cast<void>(probabilities_from({{0.5, 20}, {0.4, 30}}, 200, 1)), quire::Error);
  EXPECT_THROW(static_cast<void>(probabilities_from({{0.5, 300}}, 200, 1)), quire::Error);
}

TEST(Lengths, RefuseParametersThatNoLengthFits) {
  for (const LengthDistribution& bad : std::vector<LengthDistribution>{
           FixedLength{0}, UniformLength{0, 5}, UniformLength{6, 5}, ZipfLength{1, 0, 1},
           ZipfLength{1, 5, 0}, LogNormalLength{0, 1}, LogNormalLength{10, -1},
           LogNormalLength{10, 1, 5}, EmpiricalLength{}, EmpiricalLength{{0}}}) {
    EXPECT_THROW(check_lengths(bad), quire::Error);
  }
}

}  // namespace
