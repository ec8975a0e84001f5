#include <quire/metrics/jain.hpp>

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

using quire::metrics::jain_index;

TEST(Jain, IsOneForEqualSharesAndOneOverNForOneTaker) {
  EXPECT_DOUBLE_EQ(jain_index(std::vector{3.0, 3.0, 3.0}), 1);
  EXPECT_DOUBLE_EQ(jain_index(std::vector{0.0, 8.0, 0.0, 0.0}), 0.25);
  EXPECT_DOUBLE_EQ(jain_index(std::vector{1.0, 2.0, 3.0}), 36.0 / (3 * 14));
  EXPECT_TRUE(std::isnan(jain_index({})));
  EXPECT_TRUE(std::isnan(jain_index(std::vector{0.0, 0.0})));
}
