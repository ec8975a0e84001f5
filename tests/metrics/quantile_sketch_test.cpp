#include <quire/metrics/quantile_sketch.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/metrics/distribution.hpp>

namespace quire::metrics {
namespace {

TEST(QuantileSketch, IsWithinItsAccuracyOfTheExactValues) {
  Rng rng(5);
  QuantileSketch sketch;
  std::vector<double> values;
  for (int i = 0; i < 20'000; ++i) {
    const double v = std::exp(4 * rng.normal());  // ten decades
    values.push_back(v);
    sketch.add(v);
  }
  const Distribution exact(values);
  EXPECT_NEAR(sketch.mean() / exact.mean(), 1, 1e-12);
  EXPECT_NEAR(sketch.standard_deviation() / exact.standard_deviation(), 1, 1e-9);
  for (const double p : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    EXPECT_NEAR(sketch.percentile(p) / exact.percentile(p), 1, 1e-3) << p;
  }
  EXPECT_EQ(sketch.max(), exact.max());
}

TEST(QuantileSketch, CountsRepeatsZerosAndMerges) {
  QuantileSketch one, two;
  one.add(2.0, 3);
  one.add(0.0);
  two.add(8.0, 4);
  one.merge(two);
  EXPECT_EQ(one.count(), 8);
  EXPECT_DOUBLE_EQ(one.mean(), 38.0 / 8);
  EXPECT_EQ(one.percentile(0), 0);
  EXPECT_NEAR(one.percentile(40), 2.0, 2e-3);
  EXPECT_NEAR(one.percentile(100), 8.0, 8e-3);
  EXPECT_NEAR(one.percentile(50), 5.0, 5e-3);  // between the ranks of 2 and 8
}

TEST(QuantileSketch, ADeviationThatIsSmallBesideTheMeanIsKept) {
  QuantileSketch whole, half, rest;
  for (int i = 0; i < 100'000; ++i) {
    const double v = 20'000 + (i % 2 == 0 ? 1e-3 : -1e-3);
    whole.add(v);
    (i < 30'001 ? half : rest).add(v);
  }
  half.merge(rest);
  half.merge(QuantileSketch());
  EXPECT_NEAR(whole.standard_deviation(), 1e-3, 1e-8);
  EXPECT_NEAR(half.standard_deviation(), 1e-3, 1e-8);
  QuantileSketch repeats;
  repeats.add(3, 2);
  repeats.add(6, 4);
  EXPECT_NEAR(repeats.standard_deviation(), std::sqrt(2.0), 1e-12);
}

TEST(QuantileSketch, SaysNothingOfNoValuesAndRefusesNegativeOnes) {
  const QuantileSketch empty;
  EXPECT_TRUE(std::isnan(empty.mean()));
  EXPECT_TRUE(std::isnan(empty.median()));
  EXPECT_TRUE(std::isnan(empty.max()));
  QuantileSketch sketch;
  EXPECT_THROW(sketch.add(-1), Error);
  EXPECT_THROW(sketch.add(std::nan("")), Error);
  EXPECT_THROW((void)sketch.percentile(101), Error);
  sketch.add(1e300);  // beyond the last bucket
  EXPECT_EQ(sketch.percentile(50), 1e300);
}

}  // namespace
}  // namespace quire::metrics
