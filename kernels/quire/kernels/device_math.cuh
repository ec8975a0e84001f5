#pragma once

#include <cstdint>
#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/core/float8.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

inline constexpr float log2e = 1.44269504088896340736f;

/// The operations that an attention variant's logit() may use, on a device.
struct DeviceMath {
  using Value = float;
  QUIRE_DEVICE static float set(float x) { return x; }
  QUIRE_DEVICE static float add(float a, float b) { return a + b; }
  QUIRE_DEVICE static float mul(float a, float b) { return a * b; }
  QUIRE_DEVICE static float tanh(float x) { return simt::tanh(x); }
};

/// exp2(x - m), 0 where nothing was seen yet (m = -infinity).
QUIRE_DEVICE float weight_of(float x, float m) {
  return m == -simt::infinity() ? 0.0f : simt::exp2(x - m);
}

/// Element of a matrix product for stored elements: 16-bit types multiply as they are, others as
/// the queries' type.
template <class Stored, class Query>
struct ComputeType {
  using type = Query;
};
template <class Query>
struct ComputeType<Bf16, Query> {
  using type = Bf16;
};
template <class Query>
struct ComputeType<Fp16, Query> {
  using type = Fp16;
};

/// A stored vector as pairs of Half: word i holds elements 2 i and 2 i + 1.
template <class Half, unsigned n>
QUIRE_DEVICE void as_pairs(const simt::Vector<Half, n>& from, std::uint32_t (&to)[n / 2]) {
  static_assert(sizeof(Half) == 2);
  const auto words = simt::bit_cast<simt::Vector<std::uint32_t, n / 2>>(from);
  QUIRE_UNROLL
  for (unsigned i = 0; i < n / 2; ++i) to[i] = words.v[i];
}
template <class Half, unsigned n>
QUIRE_DEVICE void as_pairs(const simt::Vector<std::int8_t, n>& from, std::uint32_t (&to)[n / 2]) {
  // The byte plus 128 under the exponent of 2^23 is exact in fp32, and less 2^23 + 128 in Half too.
  constexpr float bias = 8388736.0f;
  QUIRE_UNROLL
  for (unsigned i = 0; i < n; i += 2) {
    const auto low = static_cast<std::uint32_t>(from.v[i] + 128) | 0x4b000000u;
    const auto high = static_cast<std::uint32_t>(from.v[i + 1] + 128) | 0x4b000000u;
    to[i / 2] =
        simt::pack<Half>(simt::bit_cast<float>(low) - bias, simt::bit_cast<float>(high) - bias);
  }
}

template <class Half, unsigned n, class Fp8>
requires(std::is_same_v<Fp8, E4m3> || std::is_same_v<Fp8, E5m2>) QUIRE_DEVICE
    void as_pairs(const simt::Vector<Fp8, n>& from, std::uint32_t (&to)[n / 2]) {
  QUIRE_UNROLL
  for (unsigned i = 0; i < n; i += 2) {
    to[i / 2] = simt::pack<Half>(simt::widen(from.v[i]), simt::widen(from.v[i + 1]));
  }
}

/// A stored element as fp32, its scale left out.
template <class T>
QUIRE_DEVICE float stored_value(T x) {
  return simt::widen(x);
}
QUIRE_DEVICE float stored_value(std::int8_t x) { return static_cast<float>(x); }

}  // namespace quire::kernels
