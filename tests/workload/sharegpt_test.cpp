#include <quire/workload/sharegpt.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::Tokens;
using namespace quire::workload;
using Q = ShareGptQuantiles;

double mean_of(const std::vector<double>& p) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * static_cast<double>(i + 1);
  return sum;
}

TEST(ShareGpt, TheFittedMarginalsHaveThePublishedMeans) {
  EXPECT_NEAR(mean_of(ShareGptLengths::inputs()), Q::input_mean, 0.05);
  EXPECT_NEAR(mean_of(ShareGptLengths::outputs()), Q::output_mean, 0.05);
}

class ShareGptDraws : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    // Near 1,000,000 draws the mean of the input is sure to 0.3 tokens (one sigma).
    const Workload w = sharegpt({.requests = 300000, .seed = 1});
    for (const auto& r : w.requests) {
      input.push_back(static_cast<double>(r.prompt_length.value));
      output.push_back(static_cast<double>(r.output_length->value));
      total.push_back(input.back() + output.back());
    }
  }
  static double mean(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    return sum / static_cast<double>(x.size());
  }
  static double quantile(std::vector<double> x, double share) {
    const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(x.size()));
    std::nth_element(x.begin(), x.begin() + at, x.end());
    return x[static_cast<std::size_t>(at)];
  }
  inline static std::vector<double> input, output, total;
};

TEST_F(ShareGptDraws, HaveTheMeansOfTheConversations) {
  EXPECT_NEAR(mean(input), Q::input_mean, 0.01 * Q::input_mean);
  EXPECT_NEAR(mean(output), Q::output_mean, 0.01 * Q::output_mean);
}

TEST_F(ShareGptDraws, HaveAsManyShortRepliesAsTheConversations) {
  // counted over the 79,725 conversations of the table: mean of 1 / output, replies of one token, of up to 4
  double inverse = 0, one = 0, four = 0;
  for (const double o : output) {
    inverse += 1 / o;
    one += o <= 1 ? 1 : 0;
    four += o <= 4 ? 1 : 0;
  }
  const auto n = static_cast<double>(output.size());
  EXPECT_NEAR(inverse / n, 0.01339, 0.04 * 0.01339);
  EXPECT_NEAR(one / n, 0.00009, 0.00005);
  EXPECT_NEAR(four / n, 0.01019, 0.0007);
}

TEST_F(ShareGptDraws, HaveTheQuantilesOfTheTable) {
  for (std::size_t i = 0; i < Q::share.size(); ++i) {
    EXPECT_NEAR(quantile(input, Q::share[i]), Q::input[i], 1 + 0.025 * Q::input[i]);
    EXPECT_NEAR(quantile(output, Q::share[i]), Q::output[i], 1 + 0.025 * Q::output[i]);
  }
}

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  double sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
  const auto n = static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    sx += x[i];
    sy += y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
    xy += x[i] * y[i];
  }
  return (n * xy - sx * sy) / std::sqrt((n * xx - sx * sx) * (n * yy - sy * sy));
}

/// The coupling is fitted to this number; over 300,000 pairs it is sure to 0.002 (one sigma).
TEST_F(ShareGptDraws, LongPromptsAndLongRepliesGoTogetherALittle) {
  EXPECT_NEAR(pearson(input, output), 0.041, 0.006);
}

/// The table's quantiles of input + output were not used in the fit: they tell how far the coupling
/// and the filter carry.
TEST_F(ShareGptDraws, PredictTheTotalsWithinThreePercentAboveTheMedian) {
  EXPECT_LT(*std::max_element(total.begin(), total.end()), 2048);
  EXPECT_NEAR(quantile(total, 0.50), 369, 0.03 * 369);
  EXPECT_NEAR(quantile(total, 0.75), 679, 0.03 * 679);
  EXPECT_NEAR(quantile(total, 0.90), 1118, 0.03 * 1118);
  EXPECT_NEAR(quantile(total, 0.95), 1423, 0.03 * 1423);
  EXPECT_NEAR(quantile(total, 0.99), 1874, 0.03 * 1874);
}

TEST(ShareGpt, TheExampleOfTheDesignWorks) {
  const Workload w = sharegpt({.requests = 1000, .rate = 2.0, .seed = 1});
  ASSERT_EQ(w.requests.size(), 1000u);
  EXPECT_EQ(w.name, "sharegpt");
  EXPECT_NEAR(w.requests.back().arrival.value, 500, 60);
}

}  // namespace
