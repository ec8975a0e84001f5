#include <quire/metrics/distribution.hpp>

#include <cmath>

#include <gtest/gtest.h>

namespace {

using quire::metrics::Distribution;

TEST(Distribution, InterpolatesPercentilesLinearly) {
  const Distribution d({40, 10, 30, 20});  // places 0, 1, 2, 3
  EXPECT_EQ(d.percentile(0), 10);
  EXPECT_EQ(d.percentile(100), 40);
  EXPECT_DOUBLE_EQ(d.median(), 25);          // place 1.5
  EXPECT_DOUBLE_EQ(d.percentile(99), 39.7);  // place 2.97
  EXPECT_DOUBLE_EQ(d.percentile(25), 17.5);  // place 0.75
  EXPECT_EQ(Distribution({7}).percentile(99), 7);
  EXPECT_THROW(static_cast<void>(d.percentile(101)), quire::Error);
  EXPECT_THROW(static_cast<void>(d.percentile(std::nan(""))), quire::Error);
}

TEST(Distribution, HasMeanAndDeviationOfItsValues) {
  const Distribution d({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_DOUBLE_EQ(d.mean(), 5);
  EXPECT_DOUBLE_EQ(d.standard_deviation(), 2);  // squares 32 over 8 values, not 7
  EXPECT_EQ(d.max(), 9);
  EXPECT_EQ(d.count(), 8u);
}

TEST(Distribution, SaysNothingOfNothing) {
  const Distribution d;
  EXPECT_TRUE(std::isnan(d.mean()));
  EXPECT_TRUE(std::isnan(d.median()));
  EXPECT_TRUE(std::isnan(d.standard_deviation()));
  EXPECT_TRUE(std::isnan(d.max()));
}

}  // namespace
