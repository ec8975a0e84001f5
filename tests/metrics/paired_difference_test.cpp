#include <quire/metrics/paired_difference.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>

namespace {

using quire::metrics::paired_difference;
using quire::metrics::student_t_quantile;

TEST(PairedDifference, QuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(student_t_quantile(0.95, 1), 12.7062, 1e-4);
  EXPECT_NEAR(student_t_quantile(0.95, 2), 4.30265, 1e-5);
  EXPECT_NEAR(student_t_quantile(0.95, 3), 3.18245, 1e-5);
  EXPECT_NEAR(student_t_quantile(0.95, 9), 2.26216, 1e-5);
  EXPECT_NEAR(student_t_quantile(0.95, 30), 2.04227, 1e-5);
  EXPECT_NEAR(student_t_quantile(0.99, 4), 4.60409, 1e-5);
  EXPECT_NEAR(student_t_quantile(0.5, 1), 1.0, 1e-12);
  EXPECT_NEAR(student_t_quantile(0.95, 100'000), 1.95998, 1e-5);
}

TEST(PairedDifference, IsTheIntervalByHand) {
  const auto d = paired_difference(std::vector{10.0, 20.0, 30.0}, std::vector{11.0, 22.0, 33.0});
  EXPECT_EQ(d.pairs, 3u);
  EXPECT_DOUBLE_EQ(d.before, 20);
  EXPECT_DOUBLE_EQ(d.after, 22);
  EXPECT_DOUBLE_EQ(d.difference, 2);  // 1, 2, 3: deviation 1
  EXPECT_NEAR(d.high - d.difference, 4.302653 / std::sqrt(3.0), 1e-6);
  EXPECT_NEAR(d.difference - d.low, 4.302653 / std::sqrt(3.0), 1e-6);
  EXPECT_FALSE(d.is_shown());
}

TEST(PairedDifference, NothingIsShownByOnePairOrByEqualOnes) {
  const auto one = paired_difference(std::vector{1.0}, std::vector{2.0});
  EXPECT_TRUE(std::isnan(one.low) && std::isnan(one.high));
  EXPECT_FALSE(one.is_shown());
  EXPECT_FALSE(paired_difference(std::vector{1.0, 2.0}, std::vector{1.0, 2.0}).is_shown());
  EXPECT_TRUE(paired_difference(std::vector{1.0, 2.0}, std::vector{2.0, 3.0}).is_shown());
}

// Where there is no difference, one is found in a twentieth of the cases, however much pairs share.
TEST(PairedDifference, IsWrongAsOftenAsItSays) {
  quire::Rng rng(5);
  int found = 0;
  constexpr int rounds = 4000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> before(5), after(5);
    for (std::size_t i = 0; i < 5; ++i) {
      const double shared = 100 * rng.normal();
      before[i] = shared + rng.normal();
      after[i] = shared + rng.normal();
    }
    found += paired_difference(before, after).is_shown() ? 1 : 0;
  }
  EXPECT_NEAR(found / static_cast<double>(rounds), 0.05, 0.011);  // three deviations
}

}  // namespace
