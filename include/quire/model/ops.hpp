#pragma once

#include <cmath>
#include <cstddef>
#include <span>

#include <quire/core/simd.hpp>

/// Arithmetic on one row of activations; each sum runs in one fixed order.
namespace quire::model {

namespace detail {
/// Calls f(vectors of a and b) for whole vectors, and once for a tail filled up with zeros; writes
/// what it returns to `out`.
template <class F>
HWY_INLINE void map(const float* a, const float* b, float* out, std::size_t n, const F& f) {
  using namespace simd;
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) store(f(load(a + i), load(b + i)), out + i);
  if (i == n) return;
  float left[lanes]{}, right[lanes]{};
  for (std::size_t j = i; j < n; ++j) {
    left[j - i] = a[j];
    right[j - i] = b[j];
  }
  store(f(load(left), load(right)), left);
  for (std::size_t j = i; j < n; ++j) out[j] = left[j - i];
}

/// Sum of f(x) over a row, in one vector of partial sums; f(zero) need not be zero.
template <class F>
HWY_INLINE float sum_of(const float* x, std::size_t n, const F& f) {
  using namespace simd;
  Vec total = hn::Zero(Floats());
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) total = f(load(x + i), total);
  if (i < n) {
    float tail[lanes]{}, result[lanes]{};
    for (std::size_t j = i; j < n; ++j) tail[j - i] = x[j];
    store(f(load(tail), hn::Zero(Floats())), result);
    for (std::size_t j = n - i; j < lanes; ++j) result[j] = 0;
    total = hn::Add(total, load(result));
  }
  return sum(total);
}
}  // namespace detail

/// out = x / sqrt(mean(x^2) + eps) * scale. \shape x, scale, out (n); out may be x
inline void rms_norm(const float* x, const float* scale, float eps, float* out, std::size_t n) {
  using namespace simd;
  const float squares = detail::sum_of(
      x, n,
      [](Vec v, Vec total) __attribute__((always_inline)) { return hn::MulAdd(v, v, total); });
  const Vec factor = set(1.0f / std::sqrt(squares / static_cast<float>(n) + eps));
  detail::map(
      x, scale, out, n, [factor](Vec v, Vec s) __attribute__((always_inline)) {
        return hn::Mul(hn::Mul(v, factor), s);
      });
}

/// out = (x - mean) / sqrt(variance + eps) * scale + bias.
/// \shape x, scale, bias, out (n); out may be x
inline void layer_norm(const float* x, const float* scale, const float* bias, float eps, float* out,
                       std::size_t n) {
  using namespace simd;
  const auto count = static_cast<float>(n);
  const float mean =
      detail::sum_of(
          x, n, [](Vec v, Vec total) __attribute__((always_inline)) { return hn::Add(v, total); }) /
      count;
  const Vec center = set(mean);
  const float squares = detail::sum_of(
      x, n, [center](Vec v, Vec total) __attribute__((always_inline)) {
        const Vec d = hn::Sub(v, center);
        return hn::MulAdd(d, d, total);
      });
  const Vec factor = set(1.0f / std::sqrt(squares / count + eps));
  detail::map(
      x, scale, out, n, [=](Vec v, Vec s) __attribute__((always_inline)) {
        return hn::Mul(hn::Mul(hn::Sub(v, center), factor), s);
      });
  for (std::size_t i = 0; i < n; ++i) out[i] += bias[i];
}

/// x += y. \shape x, y (n)
inline void add(float* x, const float* y, std::size_t n) {
  detail::map(
      x, y, x, n,
      [](simd::Vec a, simd::Vec b) __attribute__((always_inline)) { return simd::hn::Add(a, b); });
}

/// x += weight * y. \shape x, y (n)
inline void add_scaled(float* x, const float* y, float weight, std::size_t n) {
  detail::map(
      x, y, x, n, [weight](simd::Vec a, simd::Vec b) __attribute__((always_inline)) {
        return simd::hn::MulAdd(b, simd::set(weight), a);
      });
}

/// x sigmoid(x).
struct Silu {
  HWY_INLINE simd::Vec operator()(simd::Vec x) const { return simd::hn::Mul(x, simd::sigmoid(x)); }
};
struct Relu {
  HWY_INLINE simd::Vec operator()(simd::Vec x) const {
    return simd::hn::Max(x, simd::hn::Zero(simd::Floats()));
  }
};
/// GELU by its tanh approximation: x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi)(x + c x^3).
struct GeluTanh {
  HWY_INLINE simd::Vec operator()(simd::Vec x) const {
    using namespace simd;
    const Vec cubic = hn::Mul(hn::Mul(x, x), set(0.044715f));
    const Vec u = hn::Mul(hn::MulAdd(cubic, x, x), set(2 * 0.7978845608028654f));
    return hn::Mul(x, sigmoid(u));
  }
};
/// GELU with the error function, x/2 (1 + erf(x / sqrt 2)); lane by lane, rare in these families.
struct GeluErf {
  HWY_INLINE simd::Vec operator()(simd::Vec x) const {
    float values[simd::lanes];
    simd::store(x, values);
    for (float& v : values) v = 0.5f * v * (1.0f + std::erf(v * 0.70710678118654752f));
    return simd::load(values);
  }
};

/// out = f(x). \shape x, out (n)
template <class F>
void activate(const float* x, float* out, std::size_t n, const F& f) {
  detail::map(
      x, x, out, n, [&f](simd::Vec v, simd::Vec) __attribute__((always_inline)) { return f(v); });
}

/// out = f(gate) * up. \shape gate, up, out (n)
template <class F>
void activate_gated(const float* gate, const float* up, float* out, std::size_t n, const F& f) {
  detail::map(
      gate, up, out, n, [&f](simd::Vec g, simd::Vec u) __attribute__((always_inline)) {
        return simd::hn::Mul(f(g), u);
      });
}

/// Softmax in place, in double: for the few scores of a router. \shape x (n)
inline void softmax(std::span<float> x) {
  double largest = -INFINITY, total = 0;
  for (float v : x) largest = std::fmax(largest, static_cast<double>(v));
  for (float v : x) total += std::exp(static_cast<double>(v) - largest);
  for (float& v : x) {
    v = static_cast<float>(std::exp(static_cast<double>(v) - largest) / total);
  }
}

}  // namespace quire::model
