#pragma once

#include <cmath>
#include <cstdint>

#include <quire/workload/generator.hpp>

namespace quire::workload {

/// Parameters of the Alpaca lengths. Only the two means are published. The shapes come from a log in the
/// paper's artifact: FasterTransformer serving the tokenized data set, with the longest input and the
/// longest output of each of 100 batches of 14 requests. Of the exponential, Weibull and log-normal
/// distributions with the published mean the exponential makes those outputs the likeliest
/// (log-likelihood -565.0; log-normal -567.1 at its best sigma, 0.8); of log-normal and Weibull inputs,
/// shifted and not, 10 tokens and a log-normal of sigma 1.1 the inputs (-438.9; without the shift -449.6).
/// \source Kwon et al., SOSP '23, Figure 11 (means); sosp-ae-39/sosp-ae-astra, ft/tp1.txt.
struct AlpacaLengths {
  static constexpr double input_mean = 19.31;
  static constexpr double output_mean = 58.45;
  static constexpr double input_least = 10;
  static constexpr double input_sigma = 1.1;         // of what is above the least
  static constexpr std::int64_t total_limit = 2048;  // input + output is smaller

  [[nodiscard]] detail::Lengths operator()(Rng& rng) const {
    for (;;) {
      const double above = std::exp(std::log(input_mean - input_least) -
                                    input_sigma * input_sigma / 2 + input_sigma * rng.normal());
      const double input = std::round(input_least + above);
      const double output = std::ceil(rng.exponential(output_mean - 0.5));  // up: half a token more
      if (output < 1 || input + output >= static_cast<double>(total_limit)) continue;
      return {Tokens(static_cast<std::int64_t>(input)), Tokens(static_cast<std::int64_t>(output))};
    }
  }
};

/// Instruction requests with Alpaca's mean lengths: 19.3 in and 58.5 out.
/// \errors usage error: no requests, or a rate that is not positive.
[[nodiscard]] inline Workload alpaca(const GeneratorOptions& options = {}) {
  return detail::generate("alpaca", options, AlpacaLengths{});
}

}  // namespace quire::workload
