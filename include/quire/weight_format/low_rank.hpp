// mechanism: a matrix as the product of two of a low rank
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/symmetric_eigen.hpp>
#include <quire/weight_format/gptq.hpp>

namespace quire::weight_format {

struct LowRankOptions {
  enum class Method {
    svd,     // nearest to the weights
    asvd,    // nearest to the weights times the size of their inputs
    svd_llm  // nearest to the outputs
  };
  Method method = Method::svd_llm;
  double share = 0.2;     // of the matrix's numbers that go
  double alpha = 0.5;     // of ASVD: inputs of mean size a count a^alpha
  double damping = 0.01;  // of SVD-LLM, of the mean of the moments' diagonal; see factors()
};

/// The rank with which two factors have a share less numbers than their product: the largest r with
/// r (outputs + inputs) <= (1 - share) outputs inputs, 1 at least; 0 where that saves nothing.
/// \errors usage for a share that is none
[[nodiscard]] inline std::size_t rank_without(double share, std::size_t outputs,
                                              std::size_t inputs) {
  if (!(share > 0 && share < 1)) {
    throw usage_error("low rank", "a share of " + std::to_string(share),
                      "more than 0, less than 1");
  }
  const double whole = static_cast<double>(outputs) * static_cast<double>(inputs);
  const auto both = static_cast<double>(outputs + inputs);
  const double rank = std::max(1.0, std::floor((1 - share) * whole / both + 1e-9));
  return rank * both < whole ? static_cast<std::size_t>(rank) : 0;
}

/// W' = out in.
struct Factors {
  std::size_t rank = 0;
  std::vector<float> in;   // \shape (rank, inputs)
  std::vector<float> out;  // \shape (outputs, rank)
  /// Squares of the singular values of W S that were left out, S as the method has it: what the
  /// method says it loses.
  double dropped = 0;

  /// \shape result (outputs, inputs)
  [[nodiscard]] std::vector<float> product() const {
    const std::size_t outputs = out.size() / rank, inputs = in.size() / rank;
    std::vector<float> w(outputs * inputs);
    std::vector<double> row(inputs);
    for (std::size_t o = 0; o < outputs; ++o) {
      std::fill(row.begin(), row.end(), 0.0);
      for (std::size_t r = 0; r < rank; ++r) {
        const auto factor = static_cast<double>(out[o * rank + r]);
        for (std::size_t k = 0; k < inputs; ++k) {
          row[k] += factor * static_cast<double>(in[r * inputs + k]);
        }
      }
      for (std::size_t k = 0; k < inputs; ++k) w[o * inputs + k] = static_cast<float>(row[k]);
    }
    return w;
  }
};

namespace detail {

/// S S^T of a method: what its inputs' directions count. \shape result (inputs, inputs)
[[nodiscard]] inline std::vector<double> input_metric(const InputStatistics& s, std::size_t n,
                                                      const LowRankOptions& options) {
  if (options.method == LowRankOptions::Method::svd_llm) return s.moments;
  std::vector<double> metric(n * n);
  for (std::size_t k = 0; k < n; ++k) {
    const bool asvd = options.method == LowRankOptions::Method::asvd;
    const double mean = asvd && s.rows > 0 ? s.magnitude[k] / s.rows : 0;
    metric[k * n + k] = asvd ? std::pow(mean, 2 * options.alpha) : 1;
  }
  return metric;
}

/// W = Q R for more outputs than inputs: columns of Q stand at right angles, or are 0 where W has none left.
/// \shape weights (outputs, inputs); q (inputs, outputs), transposed; r (inputs, inputs)
inline void orthogonalise(std::span<const float> weights, std::size_t outputs, std::size_t n,
                          std::vector<double>& q, std::vector<double>& r) {
  q.resize(n * outputs);
  r.assign(n * n, 0.0);
  for (std::size_t j = 0; j < n; ++j) {
    double* v = q.data() + j * outputs;
    for (std::size_t o = 0; o < outputs; ++o) v[o] = static_cast<double>(weights[o * n + j]);
    const double before = std::sqrt(inner_product(v, v, outputs));
    for (int pass = 0; pass < 2;
         ++pass) {  // a second one takes away what rounding left of the first
      for (std::size_t i = 0; i < j; ++i) {
        const double along = inner_product(q.data() + i * outputs, v, outputs);
        add_scaled_to(v, q.data() + i * outputs, -along, outputs);
        r[i * n + j] += along;
      }
    }
    const double length = std::sqrt(inner_product(v, v, outputs));
    const bool none = !(length > 1e-12 * before);
    r[j * n + j] = none ? 0 : length;
    for (std::size_t o = 0; o < outputs; ++o) v[o] = none ? 0 : v[o] / length;
  }
}

/// B M B^T. \shape b (rows, n); m (n, n) symmetric
[[nodiscard]] inline std::vector<double> between(const std::vector<double>& b, std::size_t rows,
                                                 const std::vector<double>& m, std::size_t n) {
  std::vector<double> out(rows * rows), half(n);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      half[k] = inner_product(m.data() + k * n, b.data() + i * n, n);
    }
    for (std::size_t j = 0; j <= i; ++j) {
      out[i * rows + j] = out[j * rows + i] = inner_product(half.data(), b.data() + j * n, n);
    }
  }
  return out;
}

}  // namespace detail

/// Factors of a matrix that lose least of W S among all of a rank: of the weights themselves (SVD), of weights
/// times the size of their inputs (ASVD), or of the outputs over the texts (SVD-LLM, for which S S^T is the
/// sum of x x^T, so that what is dropped is what the outputs lose). With W S = U D V^T, U_r the columns of the
/// largest values, the authors' W' = U_r D_r V_r^T S^-1 is U_r U_r^T W: U_r are the first eigenvectors of
/// W S S^T W^T, and no inverse is formed.
/// Where inputs had fewer directions than SVD-LLM is to keep, all directions count a little (damping).
/// rank: 1 to min(outputs, inputs). statistics: of its inputs; SVD asks for none
/// \shape weights (outputs, inputs) \complexity O(outputs inputs min(outputs, inputs) + inputs^3)
/// \errors usage for a rank that is none; data for numbers that are not finite
/// \source Yuan et al., "ASVD", 2023; Wang et al., "SVD-LLM", ICLR 2025. Deviation: numbers are split as
/// U_r and U_r^T W, not with the root of D on both sides.
[[nodiscard]] inline Factors low_rank(std::span<const float> weights, std::size_t outputs,
                                      std::size_t rank, const InputStatistics& statistics,
                                      const LowRankOptions& options) {
  const std::size_t n = weights.size() / outputs, least = std::min(outputs, n);
  if (rank == 0 || rank > least) {
    throw usage_error("low rank", "rank " + std::to_string(rank), "1 to " + std::to_string(least));
  }
  std::vector<double> metric = detail::input_metric(statistics, n, options), q, r;
  const bool tall = outputs > n;
  if (tall) {
    detail::orthogonalise(weights, outputs, n, q, r);
  } else {
    r.assign(weights.begin(), weights.end());
  }
  SymmetricEigen found = symmetric_eigen(detail::between(r, least, metric, n), least, "low rank");
  if (options.method == LowRankOptions::Method::svd_llm &&
      !(found.values[rank - 1] > 1e-12 * found.values[0])) {
    double mean = 0;
    for (std::size_t k = 0; k < n; ++k) mean += metric[k * n + k] / static_cast<double>(n);
    if (!(mean > 0)) throw data_error("low rank", "the inputs were all zero", "calibration texts");
    for (std::size_t k = 0; k < n; ++k) metric[k * n + k] += options.damping * mean;
    found = symmetric_eigen(detail::between(r, least, metric, n), least, "low rank");
  }
  Factors f;
  f.rank = rank;
  for (std::size_t i = rank; i < least; ++i) f.dropped += std::max(0.0, found.values[i]);
  f.in.resize(rank * n);
  f.out.resize(outputs * rank);
  std::vector<double> u(outputs), row(n);
  for (std::size_t i = 0; i < rank; ++i) {
    const double* vector = found.vectors.data() + i * least;
    std::fill(u.begin(), u.end(), 0.0);
    if (tall) {
      for (std::size_t k = 0; k < n; ++k) {
        add_scaled_to(u.data(), q.data() + k * outputs, vector[k], outputs);
      }
    } else {
      std::copy_n(vector, outputs, u.data());
    }
    std::fill(row.begin(), row.end(), 0.0);
    for (std::size_t o = 0; o < outputs; ++o) {
      f.out[o * rank + i] = static_cast<float>(u[o]);
      for (std::size_t k = 0; k < n; ++k) {
        row[k] += u[o] * static_cast<double>(weights[o * n + k]);
      }
    }
    for (std::size_t k = 0; k < n; ++k) f.in[i * n + k] = static_cast<float>(row[k]);
  }
  return f;
}

}  // namespace quire::weight_format
