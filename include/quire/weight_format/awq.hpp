// mechanism: calibration of integers by scaling the inputs that matter
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <quire/weight_format/gptq.hpp>
#include <quire/weight_format/grouped.hpp>

namespace quire::weight_format {

struct AwqOptions {
  unsigned bits = 4;
  std::size_t group = 128;
  bool symmetric = false;
  int steps = 20;    // of the exponent between 0 and 1
  bool clip = true;  // searches each group's range as well
  /// Inputs with the same number share a factor; empty: each has its own. \shape (inputs)
  std::vector<std::size_t> shared;
};

/// Factors of the inputs, mean(|x|)^a, whose weights lose least when rounded to nearest after they were
/// multiplied by them and the inputs divided; a from a grid that begins with 0, no change.
/// \shape weights (outputs, inputs), result (inputs)
/// \source Lin et al., "AWQ", MLSys 2024, and its auto_scale.py. Deviation: the error is that of the
/// matrix's own outputs, from the moments of its inputs, and not of the block around it.
[[nodiscard]] inline std::vector<float> awq_factors(std::span<const float> weights,
                                                    std::size_t outputs,
                                                    const InputStatistics& statistics,
                                                    const AwqOptions& options) {
  const std::size_t n = statistics.inputs;
  std::vector<double> magnitude(statistics.magnitude);
  if (!options.shared.empty()) {
    std::vector<double> sums(n);
    for (std::size_t k = 0; k < n; ++k) sums[options.shared[k]] += magnitude[k];
    for (std::size_t k = 0; k < n; ++k) magnitude[k] = sums[options.shared[k]];
  }
  std::vector<float> best(n, 1.0f), factors(n), scaled(weights.size()), back(weights.size());
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step < options.steps; ++step) {
    double low = std::numeric_limits<double>::infinity(), high = 0;
    for (std::size_t k = 0; k < n; ++k) {
      const double exponent = static_cast<double>(step) / static_cast<double>(options.steps);
      const double f = std::max(std::pow(magnitude[k] / statistics.rows, exponent), 1e-4);
      factors[k] = static_cast<float>(f);
      low = std::min(low, f);
      high = std::max(high, f);
    }
    for (float& f : factors) f /= static_cast<float>(std::sqrt(low * high));
    for (std::size_t i = 0; i < weights.size(); ++i) scaled[i] = weights[i] * factors[i % n];
    const Grouped q =
        round_to_nearest(scaled.data(), outputs, n, options.bits, options.group, options.symmetric);
    q.read(0, outputs, back.data());
    for (std::size_t i = 0; i < back.size(); ++i) back[i] /= factors[i % n];
    const double error = output_error(statistics, weights, back);
    if (error < least) {
      least = error;
      best = factors;
    }
  }
  return best;
}

/// Rounds a matrix to nearest, each group's range made narrower (down to a half) where its part of the
/// outputs then errs less. \shape weights (outputs, inputs) \source AWQ's auto_clip.py
[[nodiscard]] inline Grouped round_clipped(std::span<const float> weights, std::size_t outputs,
                                           const InputStatistics& statistics,
                                           const AwqOptions& options) {
  const std::size_t n = statistics.inputs, size = options.group;
  Grouped q(outputs, n, options.bits, size);
  std::vector<double> d(size);
  for (std::size_t row = 0; row < outputs; ++row) {
    for (std::size_t g = 0; g < q.groups(); ++g) {
      const std::size_t first = g * size;
      const float* w = weights.data() + row * n + first;
      const auto attempt = [&](float shrink) {
        q.choose_grid(row, g, w, options.symmetric, shrink);
        for (std::size_t k = 0; k < size; ++k) {
          const float rounded = q.round(row, first + k, w[k]);
          d[k] = static_cast<double>(w[k]) - static_cast<double>(rounded);
        }
        return detail::quadratic(statistics.moments.data() + first * n + first, n, d.data(), size);
      };
      float best = 1;
      double least = std::numeric_limits<double>::infinity();
      for (int step = 0; options.clip && step < 10; ++step) {
        const float shrink = 1 - 0.05f * static_cast<float>(step);
        if (const double error = attempt(shrink); error < least) {
          least = error;
          best = shrink;
        }
      }
      (void)attempt(best);
    }
  }
  return q;
}

}  // namespace quire::weight_format
