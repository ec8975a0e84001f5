#include <quire/workload/alpaca.hpp>

#include <gtest/gtest.h>

namespace {

using namespace quire::workload;

TEST(Alpaca, HasThePublishedMeansAndPromptShare) {
  const Workload w = alpaca({.requests = 300000, .seed = 2});
  double input = 0;
  double output = 0;
  double squares = 0;
  for (const auto& r : w.requests) {
    const auto o = static_cast<double>(r.output_length->value);
    input += static_cast<double>(r.prompt_length.value);
    output += o;
    squares += o * o;
    ASSERT_LT((r.prompt_length + *r.output_length).value, AlpacaLengths::total_limit);
  }
  const auto n = static_cast<double>(w.requests.size());
  EXPECT_NEAR(input / n, AlpacaLengths::input_mean, 0.01 * AlpacaLengths::input_mean);
  EXPECT_NEAR(output / n, AlpacaLengths::output_mean, 0.01 * AlpacaLengths::output_mean);
  // Averaged over time, two samples of one prompt store m + 2 * E[o^2] / (2 E[o]) tokens.
  EXPECT_NEAR(input / n / (input / n + squares / output), 0.12, 0.005);
}

}  // namespace
