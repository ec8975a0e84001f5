#pragma once

#include <cstdint>

#include <quire/workload/generator.hpp>

namespace quire::workload {

/// Parameters of the Alpaca lengths. Only the two means are published; the rest is inferred.
/// The output's sigma makes prompts 12 % of the stored KV tokens when two samples share each
/// prompt, which is what section 3 of the paper says of its parallel-sampling experiment: with
/// independent lengths that share is m / (m + 2 * E[o^2] / (2 * E[o])), E[o^2] = E[o]^2 *
/// exp(sigma^2). The input's sigma keeps the histogram a sharp peak near 0, as in Figure 11;
/// between 0.5 and 1.0 the block savings of Figure 15 move by 0.2 points. So Figure 15 on this
/// generator checks the sharing mechanism, and not the data. \source Kwon et al., SOSP '23, Figure
/// 11 (means) and section 3.
struct AlpacaLengths {
  static constexpr double input_mean = 19.31;
  static constexpr double output_mean = 58.45;
  static constexpr double input_sigma = 0.70;
  static constexpr double output_sigma = 0.95;
  static constexpr std::int64_t total_limit = 2048;  // input + output is smaller

  [[nodiscard]] detail::Lengths operator()(Rng& rng) const {
    const LogNormalLength input{input_mean, input_sigma, total_limit - 2};
    const LogNormalLength output{output_mean, output_sigma, total_limit - 2};
    for (;;) {
      const detail::Lengths pair{input(rng), output(rng)};
      if (pair.input + pair.output < Tokens(total_limit)) return pair;
    }
  }
};

/// Instruction requests with Alpaca's mean lengths: 19.3 in and 58.5 out.
/// \errors usage error: no requests, or a rate that is not positive.
[[nodiscard]] inline Workload alpaca(const GeneratorOptions& options = {}) {
  return detail::generate("alpaca", options, AlpacaLengths{});
}

}  // namespace quire::workload
