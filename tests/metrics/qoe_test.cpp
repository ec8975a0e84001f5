#include <quire/metrics/qoe.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace quire::metrics {
namespace {

RequestRecord tokens_at(std::vector<double> times) {
  RequestRecord r;
  r.arrival = 10.0;
  for (double& t : times) t += 10;
  r.token_times = std::move(times);
  return r;
}

TEST(Qoe, IsOneForTokensOnTimeOrEarly) {
  const Expectation e{.ttft = 1.0, .speed = 2};
  EXPECT_DOUBLE_EQ(qoe(tokens_at({1.0, 1.5, 2.0}), e), 1);
  EXPECT_DOUBLE_EQ(qoe(tokens_at({0.1, 0.1, 0.1}), e), 1);  // early ones gain nothing
}

TEST(Qoe, LosesTheAreaBetweenTheCurves) {
  const Expectation e{.ttft = 1.0, .speed = 2};
  // read at 2, 2.5, 3; expected at 1, 1.5, 2: of 2 + 1.5 + 1 expected token-seconds 3 are missing
  EXPECT_DOUBLE_EQ(qoe(tokens_at({2.0, 2.1, 2.2}), e), 1 - 3 / 4.5);
  // a stall in the middle: read at 1, 3, 3.5
  EXPECT_DOUBLE_EQ(qoe(tokens_at({1.0, 3.0, 3.0}), e), 1 - 3 / 6.0);
  EXPECT_GT(qoe(tokens_at({1.2, 1.5, 2.0}), e), qoe(tokens_at({1.4, 1.5, 2.0}), e));
  EXPECT_TRUE(std::isnan(qoe(tokens_at({}), e)));
}

}  // namespace
}  // namespace quire::metrics
