#pragma once

#include <cmath>
#include <cstddef>

#include <quire/core/simd.hpp>

namespace quire {

/// Multiplies by the orthonormal Walsh-Hadamard matrix, its own inverse. \shape x (n)
/// \pre n is a power of two \complexity n log2 n additions
inline void hadamard(float* x, std::size_t n) {
  namespace hn = simd::hn;
  for (std::size_t half = 1; half < n; half *= 2) {
    for (std::size_t first = 0; first < n; first += 2 * half) {
      std::size_t i = first;
      for (; i + simd::lanes <= first + half; i += simd::lanes) {
        const auto a = simd::load(x + i), b = simd::load(x + i + half);
        simd::store(hn::Add(a, b), x + i);
        simd::store(hn::Sub(a, b), x + i + half);
      }
      for (; i < first + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(n));
  for (std::size_t i = 0; i < n; ++i) x[i] *= scale;
}

}  // namespace quire
