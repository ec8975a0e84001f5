// mechanism: calibration of integers by second-order error compensation
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/weight_format/grouped.hpp>

namespace quire::weight_format {

/// What a matrix's inputs were, over calibration texts.
struct InputStatistics {
  std::size_t inputs = 0;
  double rows = 0;                // tokens seen
  std::vector<double> moments;    // sum of x x^T. \shape (inputs, inputs)
  std::vector<double> magnitude;  // sum of |x|. \shape (inputs)
  std::vector<float> most;        // largest |x|. \shape (inputs)
};

namespace detail {
/// d^T M d for a symmetric M. Eight sums side by side: one would wait for each addition.
/// \shape m (n, n), rows `stride` apart; d (n)
[[nodiscard]] inline double quadratic(const double* m, std::size_t stride, const double* d,
                                      std::size_t n) {
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double* row = m + i * stride;
    double sums[8]{};
    std::size_t k = i + 1;
    for (; k + 8 <= n; k += 8) {
      for (std::size_t j = 0; j < 8; ++j) sums[j] += row[k + j] * d[k + j];
    }
    for (; k < n; ++k) sums[0] += row[k] * d[k];
    double sum = 0;
    for (const double s : sums) sum += s;
    total += d[i] * (2 * sum + row[i] * d[i]);
  }
  return total;
}
}  // namespace detail

/// Squared error of a matrix's outputs over the texts that the statistics saw: tr(D M D^T), D the
/// difference of the weights. \shape weights, instead (outputs, inputs)
[[nodiscard]] inline double output_error(const InputStatistics& s, std::span<const float> weights,
                                         std::span<const float> instead) {
  const std::size_t n = s.inputs;
  std::vector<double> d(n);
  double total = 0;
  for (std::size_t row = 0; row * n < weights.size(); ++row) {
    for (std::size_t k = 0; k < n; ++k) {
      d[k] = static_cast<double>(weights[row * n + k]) - static_cast<double>(instead[row * n + k]);
    }
    total += detail::quadratic(s.moments.data(), n, d.data(), n);
  }
  return total;
}

struct GptqOptions {
  unsigned bits = 4;
  std::size_t group = 128;
  bool symmetric = true;
  /// Inputs in the order of their moments, largest first. Scales are then those of the weights as they
  /// came, so that groups stay neighbours ("static groups").
  bool act_order = false;
  double damping = 0.01;  // of the mean of the moments' diagonal, added to it
};

namespace detail {

/// The upper triangular U of M^-1 = U^T U, in place, for M symmetric and positive definite. Plain loops:
/// a linear algebra library would cost every file that includes this one more than a second to compile.
/// \shape m (n, n) \errors data when M is not positive definite
inline void inverse_factor(std::vector<double>& m, std::size_t n, const char* where) {
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return m[i * n + j]; };
  const auto cholesky = [&] {  // M = L L^T, L below the diagonal and on it
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = j; i < n; ++i) {
        double sum = at(i, j);
        for (std::size_t k = 0; k < j; ++k) sum -= at(i, k) * at(j, k);
        if (i > j) {
          at(i, j) = sum / at(j, j);
        } else if (sum > 0) {
          at(j, j) = std::sqrt(sum);
        } else {
          throw data_error(where, "the moments of the inputs are not positive definite",
                           "more calibration tokens, or more damping");
        }
      }
    }
  };
  cholesky();
  for (std::size_t j = 0; j < n; ++j) {  // L^-1, in place of L
    at(j, j) = 1 / at(j, j);
    for (std::size_t i = j + 1; i < n; ++i) {
      double sum = 0;
      for (std::size_t k = j; k < i; ++k) sum -= at(i, k) * at(k, j);
      at(i, j) = sum / at(i, i);
    }
  }
  std::vector<double> inverse(n * n);  // L^-T L^-1
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t i = 0; i <= k; ++i) {
      for (std::size_t j = 0; j <= i; ++j) inverse[i * n + j] += at(k, i) * at(k, j);
    }
  }
  m = std::move(inverse);
  cholesky();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) at(j, i) = std::exchange(at(i, j), 0.0);
  }
}

/// inverse_factor() of the moments of inputs in some order, damped. Of an input that was never used, any
/// weight will do. damping: of the mean of the diagonal, added to it. where: of errors
/// \shape order, result rows and columns (inputs) \errors data
[[nodiscard]] inline std::vector<double> damped_inverse_factor(
    const InputStatistics& statistics, const std::vector<std::size_t>& order, double damping,
    const char* where) {
  const std::size_t n = statistics.inputs;
  const auto moment = [&](std::size_t i, std::size_t j) { return statistics.moments[i * n + j]; };
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += moment(i, i) / static_cast<double>(n);
  if (!(mean > 0)) throw data_error(where, "the inputs were all zero", "calibration texts");
  std::vector<double> u(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) u[i * n + j] = moment(order[i], order[j]);
    if (moment(order[i], order[i]) == 0) u[i * n + i] = mean;
    u[i * n + i] += damping * mean;
  }
  inverse_factor(u, n, where);
  return u;
}

}  // namespace detail

/// Rounds a matrix input by input and moves each input's error to those that are not rounded yet, in
/// the way that changes the outputs least. \shape weights (outputs, inputs)
/// \complexity O(inputs^3 + outputs inputs^2)
/// \errors usage for bits or groups that do not exist; data when the moments are not positive definite
/// \source Frantar et al., "GPTQ", ICLR 2023, and its code. Deviation: one pass, not blocks of 128 inputs
/// (the same numbers), in double.
[[nodiscard]] inline Grouped gptq(std::span<const float> weights, std::size_t outputs,
                                  const InputStatistics& statistics, const GptqOptions& options) {
  const std::size_t n = statistics.inputs;
  Grouped q(outputs, n, options.bits, options.group);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto moment = [&](std::size_t i, std::size_t j) { return statistics.moments[i * n + j]; };
  if (options.act_order) {
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return moment(a, a) > moment(b, b); });
  }
  const std::vector<double> u =
      detail::damped_inverse_factor(statistics, order, options.damping, "gptq");
  std::vector<double> w(n);
  std::vector<float> group(options.group);
  for (std::size_t row = 0; row < outputs; ++row) {
    const float* from = weights.data() + row * n;
    for (std::size_t i = 0; i < n; ++i) w[i] = static_cast<double>(from[order[i]]);
    if (options.act_order) {
      for (std::size_t g = 0; g < q.groups(); ++g) {
        q.choose_grid(row, g, from + g * options.group, options.symmetric);
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (!options.act_order && i % options.group == 0) {
        for (std::size_t k = 0; k < options.group; ++k) group[k] = static_cast<float>(w[i + k]);
        q.choose_grid(row, i / options.group, group.data(), options.symmetric);
      }
      const float rounded = q.round(row, order[i], static_cast<float>(w[i]));
      const double* factors = u.data() + i * n;
      const double error = (w[i] - static_cast<double>(rounded)) / factors[i];
      for (std::size_t k = i + 1; k < n; ++k) w[k] -= error * factors[k];
    }
  }
  return q;
}

}  // namespace quire::weight_format
