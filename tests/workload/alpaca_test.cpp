#include <quire/workload/alpaca.hpp>

#include <algorithm>
#include <cstddef>

#include <gtest/gtest.h>

namespace {

using namespace quire::workload;

TEST(Alpaca, HasThePublishedMeansAndTheLoggedMaxima) {
  const Workload w = alpaca({.requests = 280000, .seed = 2});
  double input = 0, output = 0, batches = 0, longest_input = 0, longest_output = 0;
  for (std::size_t i = 0; i < w.requests.size(); i += 14) {
    double most_in = 0, most_out = 0;
    for (std::size_t k = i; k < i + 14; ++k) {
      const auto in = static_cast<double>(w.requests[k].prompt_length.value);
      const auto out = static_cast<double>(w.requests[k].output_length->value);
      ASSERT_LT(in + out, AlpacaLengths::total_limit);
      ASSERT_GE(out, 1);
      input += in;
      output += out;
      most_in = std::max(most_in, in);
      most_out = std::max(most_out, out);
    }
    longest_input += most_in;
    longest_output += most_out;
    batches += 1;
  }
  const auto n = static_cast<double>(w.requests.size());
  EXPECT_NEAR(input / n, AlpacaLengths::input_mean, 0.02 * AlpacaLengths::input_mean);
  EXPECT_NEAR(output / n, AlpacaLengths::output_mean, 0.01 * AlpacaLengths::output_mean);
  // the means of the log's 100 batches of 14 requests: 50.8 and 192.9 tokens, with standard errors 2.8 and 8.1
  EXPECT_NEAR(longest_input / batches, 50.8, 2 * 2.8);
  EXPECT_NEAR(longest_output / batches, 192.9, 2 * 8.1);
}

}  // namespace
