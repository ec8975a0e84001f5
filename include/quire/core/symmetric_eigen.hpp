#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>

namespace quire {

/// Sum of products, eight sums side by side: one would wait for each addition. \shape a, b (n)
[[nodiscard]] inline double inner_product(const double* a, const double* b, std::size_t n) {
  double sums[8]{};
  std::size_t k = 0;
  for (; k + 8 <= n; k += 8) {
    for (std::size_t j = 0; j < 8; ++j) sums[j] += a[k + j] * b[k + j];
  }
  for (; k < n; ++k) sums[0] += a[k] * b[k];
  return std::accumulate(sums, sums + 8, 0.0);
}
/// to += factor * from. \shape to, from (n)
inline void add_scaled_to(double* to, const double* from, double factor, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

/// Eigenvalues of a symmetric matrix, largest first, and their vectors of length 1.
struct SymmetricEigen {
  std::vector<double> values;   // \shape (n)
  std::vector<double> vectors;  // row i belongs to values[i]. \shape (n, n)
};

namespace detail {

/// A = Q T Q^T with T of three diagonals, by reflections. Leaves Q^T in a.
/// \shape a (n, n); diagonal, beside (n): T[i][i] and T[i][i + 1]
inline void make_tridiagonal(std::vector<double>& a, std::size_t n, std::vector<double>& diagonal,
                             std::vector<double>& beside) {
  std::vector<double> reflections(n * n), factors(n), w(n);
  const auto row = [&](std::size_t i) { return a.data() + i * n; };
  for (std::size_t k = 0; k + 2 < n; ++k) {
    double* v = reflections.data() + k * n;  // zero but behind k
    double length = 0;
    for (std::size_t i = k + 1; i < n; ++i) v[i] = a[i * n + k], length += v[i] * v[i];
    length = std::sqrt(length);
    beside[k] = v[k + 1] > 0 ? -length : length;
    v[k + 1] -= beside[k];
    const std::size_t first = k + 1, count = n - first;
    const double square = inner_product(v + first, v + first, count);
    if (!(square > 0)) continue;
    const double factor = factors[k] = 2 / square;
    for (std::size_t i = first; i < n; ++i) {
      w[i] = factor * inner_product(row(i) + first, v + first, count);
    }
    const double half = factor / 2 * inner_product(w.data() + first, v + first, count);
    add_scaled_to(w.data() + first, v + first, -half, count);
    for (std::size_t i = first; i < n; ++i) {
      add_scaled_to(row(i) + first, w.data() + first, -v[i], count);
      add_scaled_to(row(i) + first, v + first, -w[i], count);
    }
  }
  for (std::size_t i = 0; i < n; ++i) diagonal[i] = a[i * n + i];
  if (n > 1) beside[n - 2] = a[(n - 1) * n + n - 2];
  a.assign(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) a[i * n + i] = 1;
  // Q^T = ... H1 H0: each row of it times the reflections, the last one first, which change what lies behind k
  for (std::size_t k = n; k-- > 0;) {
    if (factors[k] == 0) continue;
    const double* v = reflections.data() + k * n;
    for (std::size_t i = k + 1; i < n; ++i) {
      double* r = row(i) + k + 1;
      const double along = factors[k] * inner_product(r, v + k + 1, n - k - 1);
      add_scaled_to(r, v + k + 1, -along, n - k - 1);
    }
  }
}

}  // namespace detail

/// Takes a symmetric matrix apart: A = sum of values[i] vectors[i]^T vectors[i]. Plain loops, since a linear
/// algebra library would cost every file that includes this one more than a second to compile.
/// where: of errors \shape a (n, n) \complexity O(n^3) \errors data for numbers that are not finite
/// \source Householder's reflections, then the implicit QL algorithm: Bowdler et al., Numer. Math. 11, 1968.
[[nodiscard]] inline SymmetricEigen symmetric_eigen(std::vector<double> a, std::size_t n,
                                                    const char* where) {
  double most = 0;
  for (const double x : a) {
    if (!std::isfinite(x)) {
      throw data_error(where, "numbers that are not finite",
                       "a symmetric matrix of finite numbers");
    }
    most = std::max(most, std::abs(x));
  }
  if (most == 0) most = 1;
  for (double& x : a) x /= most;  // so that no square of theirs is out of range
  std::vector<double> d(n), e(n);
  detail::make_tridiagonal(a, n, d, e);
  double scale = 0;
  for (std::size_t i = 0; i < n; ++i) scale = std::max(scale, std::abs(d[i]) + std::abs(e[i]));
  constexpr double eps = std::numeric_limits<double>::epsilon();
  for (std::size_t l = 0; l < n; ++l) {
    for (int round = 0;; ++round) {
      std::size_t m = l;
      for (; m + 1 < n; ++m) {
        const double near = std::abs(d[m]) + std::abs(d[m + 1]);
        if (std::abs(e[m]) <= eps * std::max(near, 0.01 * scale)) break;
      }
      if (m == l) break;
      if (round == 100) throw data_error(where, "eigenvalues are not found", "a symmetric matrix");
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1.0), g));
      double s = 1, c = 1, p = 0, r = 1;
      for (std::size_t i = m; i-- > l;) {
        const double f = s * e[i], b = c * e[i];
        e[i + 1] = r = std::hypot(f, g);
        if (r == 0) {
          d[i + 1] -= p;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const double t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        double* const low = a.data() + i * n;
        double* const high = low + n;
        for (std::size_t k = 0; k < n; ++k) {
          const double x = high[k], y = low[k];
          high[k] = s * y + c * x;
          low[k] = c * y - s * x;
        }
      }
      e[m] = 0;
      if (r == 0) continue;
      d[l] -= p;
      e[l] = g;
    }
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t k) { return d[i] > d[k]; });
  SymmetricEigen out;
  out.values.reserve(n);
  out.vectors.reserve(n * n);
  for (const std::size_t i : order) {
    out.values.push_back(d[i] * most);
    const auto from = a.begin() + static_cast<std::ptrdiff_t>(i * n);
    out.vectors.insert(out.vectors.end(), from, from + static_cast<std::ptrdiff_t>(n));
  }
  return out;
}

}  // namespace quire
