// mechanism: choosing which weights a matrix can do without
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/weight_format/gptq.hpp>

namespace quire::weight_format {

struct PruningOptions {
  enum class Method {
    magnitude,  // |w|; where nothing else is asked for, against all of the matrix
    wanda,      // |w| times the norm of its input, against the weights of its output
    sparse_gpt  // what its loss would cost, which the weights after it then make up for
  };
  Method method = Method::wanda;
  /// Two of each four neighbouring inputs are kept, as weight_format::Sparse24 stores them;
  bool two_of_four = false;
  /// else so much of the weights is dropped: 0 to 1.
  double share = 0.5;
  double damping = 0.01;    // of SparseGPT, as GPTQ's
  std::size_t block = 128;  // inputs among which SparseGPT compares, two_of_four aside
};

namespace detail {

/// Drops the `drop` lowest of some scores, among equals the last. dropped(i) for each
template <class Dropped>
void drop_lowest(const std::vector<double>& scores, std::size_t drop, const Dropped& dropped) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(drop);
  std::nth_element(order.begin(), middle, order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : a > b;
  });
  std::for_each(order.begin(), middle, dropped);
}

[[nodiscard]] inline std::size_t dropped_of(std::size_t weights, double share) {
  return static_cast<std::size_t>(share * static_cast<double>(weights) + 1e-9);  // 0.7 of 100: 70
}

/// Masks by scores that do not change. \shape w, scores (outputs, inputs)
inline void prune_by(const std::vector<double>& scores, std::size_t inputs,
                     const PruningOptions& options, std::vector<float>& w) {
  // numbers that are compared with each other: four, a row or all
  const std::size_t together = options.two_of_four                               ? 4
                               : options.method == PruningOptions::Method::wanda ? inputs
                                                                                 : w.size();
  std::vector<double> some;
  for (std::size_t row = 0; row < w.size(); row += std::max(inputs, together)) {
    const std::size_t end = row + std::max(inputs, together);
    for (std::size_t first = row; first < end; first += together) {
      const std::size_t count = std::min(together, end - first);
      const std::size_t drop = options.two_of_four ? count - std::min<std::size_t>(2, count)
                                                   : dropped_of(count, options.share);
      some.assign(scores.begin() + static_cast<std::ptrdiff_t>(first),
                  scores.begin() + static_cast<std::ptrdiff_t>(first + count));
      drop_lowest(some, drop, [&](std::size_t i) { w[first + i] = 0; });
    }
  }
}

/// \source Frantar and Alistarh, "SparseGPT", ICML 2023, and its code: masks by blocks of inputs, each
/// weight's loss moved to those after it. Deviation: one pass, not blocks of updates (the same numbers), in
/// double.
inline void prune_by_cost(const InputStatistics& statistics, const PruningOptions& options,
                          std::vector<float>& weights) {
  const std::size_t n = statistics.inputs, outputs = weights.size() / n;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::vector<double> u =
      damped_inverse_factor(statistics, order, options.damping, "pruning");
  std::vector<double> w(weights.begin(), weights.end());
  std::vector<char> dropped(w.size(), 0);
  const auto cost = [&](std::size_t row, std::size_t k) {
    const double x = w[row * n + k] / u[k * n + k];
    return x * x;
  };
  const std::size_t block = options.two_of_four ? 4 : options.block;
  std::vector<double> costs;
  for (std::size_t first = 0; first < n; first += block) {
    const std::size_t width = std::min(block, n - first);
    // of the block's weights as they have become: of all outputs, or of each
    const std::size_t rows = options.two_of_four ? 1 : outputs;
    for (std::size_t row = 0; row < outputs; row += rows) {
      costs.clear();
      for (std::size_t r = row; r < row + rows; ++r) {
        for (std::size_t k = first; k < first + width; ++k) costs.push_back(cost(r, k));
      }
      const std::size_t drop = options.two_of_four ? width - std::min<std::size_t>(2, width)
                                                   : dropped_of(costs.size(), options.share);
      drop_lowest(costs, drop,
                  [&](std::size_t i) { dropped[(row + i / width) * n + first + i % width] = 1; });
    }
    for (std::size_t row = 0; row < outputs; ++row) {
      for (std::size_t k = first; k < first + width; ++k) {
        if (dropped[row * n + k] == 0) continue;
        const double error = w[row * n + k] / u[k * n + k];
        w[row * n + k] = 0;
        for (std::size_t j = k + 1; j < n; ++j) w[row * n + j] -= error * u[k * n + j];
      }
    }
  }
  for (std::size_t i = 0; i < w.size(); ++i) weights[i] = static_cast<float>(w[i]);
}

}  // namespace detail

/// A matrix with some of its weights zero. \shape weights, result (outputs, inputs)
/// statistics: of its inputs; magnitude asks for none
/// \complexity O(outputs inputs), and GPTQ's for SparseGPT
/// \errors usage for a share that is none; data when the inputs' moments are not positive definite
/// \source magnitude: Han et al., NeurIPS 2015; Sun et al., "Wanda", ICLR 2024; SparseGPT, see above
[[nodiscard]] inline std::vector<float> prune(std::span<const float> weights, std::size_t outputs,
                                              const InputStatistics& statistics,
                                              const PruningOptions& options) {
  using Method = PruningOptions::Method;
  if (!(options.share >= 0 && options.share <= 1)) {
    throw usage_error("pruning", "a share of " + std::to_string(options.share), "0 to 1");
  }
  std::vector<float> out(weights.begin(), weights.end());
  if (options.method == Method::sparse_gpt) {
    detail::prune_by_cost(statistics, options, out);
    return out;
  }
  const std::size_t n = weights.size() / outputs;
  std::vector<double> scores(out.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::size_t k = i % n;
    const double norm =
        options.method == Method::wanda ? std::sqrt(statistics.moments[k * n + k]) : 1.0;
    scores[i] = std::abs(static_cast<double>(out[i])) * norm;
  }
  detail::prune_by(scores, n, options, out);
  return out;
}

}  // namespace quire::weight_format
