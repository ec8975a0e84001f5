#include <quire/core/rng.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

namespace quire {
namespace {

// Golden values: mix64(0) is SplitMix64's published first output for seed 0; the others are from
// the published algorithms written in Python.
TEST(Rng, MixesAsSplitMix64) {
  static_assert(mix64(0) == 0xe220a8397b1dcdafu);
  static_assert(mix64(1) == 0x910a2dec89025cc1u);
  static_assert(mix64(~0ull) == 0xe4d971771b652c20u);
  static_assert(counter_bits(1, 2, 3) == 0x6ae515c1c0ac7e37u);
}

TEST(Rng, DrawsAsXoshiro256StarStar) {
  Rng zero(0), rng(42);
  for (std::uint64_t bits : {0x1a70a846bd9cc2a9u, 0x6a0ef250cd2b9e80u, 0x61325a7589c2ff27u}) {
    EXPECT_EQ(zero(), bits);
  }
  for (std::uint64_t bits : {0x5c8961e1f2055d33u, 0xe182e8e848466886u, 0x9f7313650e290a18u}) {
    EXPECT_EQ(rng(), bits);
  }
  for (int i = 3; i < 996; ++i) rng();
  EXPECT_EQ(rng(), 0x2437cc835c543c50u);
}

TEST(Rng, UnitIntervalIsHalfOpen) {
  EXPECT_EQ(unit_interval(0), 0.0);
  EXPECT_LT(unit_interval(~0ull), 1.0);
  EXPECT_EQ(unit_interval(1ull << 63), 0.5);
}

TEST(Rng, BelowStaysBelowAndReachesAll) {
  Rng rng(1);
  for (std::uint64_t n : {1u, 2u, 3u, 7u, 100u}) {
    std::vector<int> seen(n);
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t draw = rng.below(n);
      ASSERT_LT(draw, n);
      ++seen[draw];
    }
    EXPECT_GT(*std::min_element(seen.begin(), seen.end()), 0) << n;
  }
  for (int i = 0; i < 100; ++i) EXPECT_LT(rng.below(Rng::max()), Rng::max());
}

TEST(Rng, CounterBitsDifferInEachArgument) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (std::uint64_t stream = 0; stream < 10; ++stream) {
      for (std::uint64_t index = 0; index < 10; ++index) {
        all.push_back(counter_bits(seed, stream, index));
      }
    }
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
}

// Moments of 200,000 draws against the exact ones, and the empirical distribution function against
// the exact one (Kolmogorov-Smirnov). Tolerances are five standard errors, and 1.95 / sqrt(n),
// which a right generator exceeds once in 1,000 seeds; the seeds are fixed.
constexpr std::size_t draws = 200'000;

struct Moments {
  double mean, deviation;
};
Moments moments(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (double v : values) sum += v;
  const double mean = sum / static_cast<double>(values.size());
  for (double v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / static_cast<double>(values.size()))};
}
std::vector<double> sample(const std::function<double()>& draw) {
  std::vector<double> values(draws);
  std::generate(values.begin(), values.end(), draw);
  return values;
}
double distance(std::vector<double> values, const std::function<double(double)>& cdf) {
  std::sort(values.begin(), values.end());
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double exact = cdf(values[i]), n = static_cast<double>(values.size());
    worst = std::max({worst, std::abs(exact - static_cast<double>(i) / n),
                      std::abs(exact - static_cast<double>(i + 1) / n)});
  }
  return worst;
}
const double ks_bound = 1.95 / std::sqrt(static_cast<double>(draws));
const double root_draws = std::sqrt(static_cast<double>(draws));

TEST(Rng, UniformIsUniform) {
  Rng rng(2);
  EXPECT_LT(distance(sample([&] { return rng.uniform(); }), [](double x) { return x; }), ks_bound);
}

TEST(Rng, ExponentialHasItsMeanAndShape) {
  Rng rng(3);
  const auto values = sample([&] { return rng.exponential(2.5); });
  EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0);
  EXPECT_NEAR(moments(values).mean, 2.5, 5 * 2.5 / root_draws);
  EXPECT_LT(distance(values, [](double x) { return 1 - std::exp(-x / 2.5); }), ks_bound);
}

TEST(Rng, NormalIsStandard) {
  Rng rng(4);
  const auto values = sample([&] { return rng.normal(); });
  EXPECT_NEAR(moments(values).mean, 0, 5 / root_draws);
  EXPECT_NEAR(moments(values).deviation, 1, 5 / (std::sqrt(2.0) * root_draws));
  EXPECT_LT(distance(values, [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }),
            ks_bound);
}

TEST(Rng, GammaHasItsMomentsAboveAndBelowShapeOne) {
  for (const auto& [shape, scale] :
       std::vector<std::pair<double, double>>{{0.25, 4.0}, {1.0, 3.0}, {2.0, 0.5}, {16.0, 0.25}}) {
    Rng rng(5);
    const auto values = sample([&, k = shape, s = scale] { return rng.gamma(k, s); });
    const double deviation = std::sqrt(shape) * scale;
    EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0);
    EXPECT_NEAR(moments(values).mean, shape * scale, 5 * deviation / root_draws) << shape;
    // The standard error of a deviation grows with the excess kurtosis, 6 / shape.
    EXPECT_NEAR(moments(values).deviation, deviation,
                5 * deviation * std::sqrt((2 + 6 / shape) / 4) / root_draws)
        << shape;
  }
}

TEST(Rng, GammaOfWholeShapeIsErlang) {
  Rng exponential(6), two(7);
  EXPECT_LT(distance(sample([&] { return exponential.gamma(1, 2); }),
                     [](double x) { return 1 - std::exp(-x / 2); }),
            ks_bound);
  EXPECT_LT(distance(sample([&] { return two.gamma(2, 1); }),
                     [](double x) { return 1 - std::exp(-x) * (1 + x); }),
            ks_bound);
}

}  // namespace
}  // namespace quire
