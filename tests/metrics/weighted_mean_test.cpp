#include <quire/metrics/weighted_mean.hpp>

#include <cmath>

#include <gtest/gtest.h>

TEST(WeightedMean, WeighsTimeOrIterations) {
  quire::metrics::WeightedMean by_time;
  quire::metrics::WeightedMean by_iteration;
  for (const auto& [value, seconds] : {std::pair{10.0, 1.0}, {20.0, 3.0}, {0.0, 0.0}}) {
    by_time.add(value, seconds);
    by_iteration.add(value);
  }
  EXPECT_DOUBLE_EQ(by_time.value(), 17.5);  // (10 + 60) / 4
  EXPECT_DOUBLE_EQ(by_iteration.value(), 10);
  EXPECT_TRUE(std::isnan(quire::metrics::WeightedMean().value()));
}
