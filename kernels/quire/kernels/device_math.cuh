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

/// A stored element as fp32, its scale left out.
template <class T>
QUIRE_DEVICE float stored_value(T x) {
  return simt::widen(x);
}
QUIRE_DEVICE float stored_value(std::int8_t x) { return static_cast<float>(x); }

/// A stored vector as pairs of Half: word i holds elements 2 i and 2 i + 1.
template <class Half, unsigned n>
QUIRE_DEVICE void as_pairs(const simt::Vector<Half, n>& from, std::uint32_t (&to)[n / 2]) {
  static_assert(sizeof(Half) == 2);
  const auto words = simt::bit_cast<simt::Vector<std::uint32_t, n / 2>>(from);
  QUIRE_UNROLL
  for (unsigned i = 0; i < n / 2; ++i) to[i] = words.v[i];
}
template <class Half, unsigned n, class Byte>
requires(sizeof(Byte) == 1) QUIRE_DEVICE
    void as_pairs(const simt::Vector<Byte, n>& from, std::uint32_t (&to)[n / 2]) {
  if constexpr (n % 4 == 0) {
    const auto words = simt::bit_cast<simt::Vector<std::uint32_t, n / 4>>(from);
    QUIRE_UNROLL
    for (unsigned i = 0; i < n / 4; ++i) {
      const auto four = simt::widen_four<Half, Byte>(words.v[i]);
      to[2 * i] = four.v[0];
      to[2 * i + 1] = four.v[1];
    }
  } else {
    QUIRE_UNROLL
    for (unsigned i = 0; i < n; i += 2) {
      to[i / 2] = simt::pack<Half>(stored_value(from.v[i]), stored_value(from.v[i + 1]));
    }
  }
}

/// A stored vector as it was read: in words where it fills them, because compilers take vectors of
/// small elements apart, one register an element.
template <class Stored, unsigned n>
using Raw = simt::Vector<std::conditional_t<sizeof(Stored) * n % 4 == 0, std::uint32_t, Stored>,
                         sizeof(Stored) * n % 4 == 0 ? sizeof(Stored) * n / 4 : n>;
template <class Stored, unsigned n>
[[nodiscard]] QUIRE_DEVICE Raw<Stored, n> load_raw_once(const Stored* p) {
  if constexpr (sizeof(Stored) * n % 4 == 0) {
    return simt::load_vector_once<sizeof(Stored) * n / 4>(
        reinterpret_cast<const std::uint32_t*>(p));
  } else {
    return simt::load_vector_once<n>(p);
  }
}
/// As as_pairs(), from what load_raw_once() gave.
template <class Half, class Stored, unsigned n>
QUIRE_DEVICE void raw_pairs(const Raw<Stored, n>& from, std::uint32_t (&to)[n / 2]) {
  if constexpr (sizeof(Stored) * n % 4 != 0) {
    as_pairs<Half, n>(from, to);
  } else if constexpr (sizeof(Stored) == 2) {
    QUIRE_UNROLL
    for (unsigned i = 0; i < n / 2; ++i) to[i] = from.v[i];
  } else {
    QUIRE_UNROLL
    for (unsigned i = 0; i < n / 4; ++i) {
      const auto four = simt::widen_four<Half, Stored>(from.v[i]);
      to[2 * i] = four.v[0];
      to[2 * i + 1] = four.v[1];
    }
  }
}

/// Two stored vectors as pairs of Half across them: word i holds element i of the first and of the
/// second.
template <class Half, class Stored, unsigned n>
QUIRE_DEVICE void across(const Raw<Stored, n>& first, const Raw<Stored, n>& second,
                         std::uint32_t (&to)[n]) {
  if constexpr (sizeof(Stored) == 1 && n % 4 == 0) {
    QUIRE_UNROLL
    for (unsigned i = 0; i < n / 4; ++i) {
      const auto low =
          simt::widen_four<Half, Stored>(simt::pick_bytes(first.v[i], second.v[i], 0x5140));
      const auto high =
          simt::widen_four<Half, Stored>(simt::pick_bytes(first.v[i], second.v[i], 0x7362));
      to[4 * i] = low.v[0];
      to[4 * i + 1] = low.v[1];
      to[4 * i + 2] = high.v[0];
      to[4 * i + 3] = high.v[1];
    }
  } else {
    std::uint32_t a[n / 2], b[n / 2];
    raw_pairs<Half, Stored, n>(first, a);
    raw_pairs<Half, Stored, n>(second, b);
    QUIRE_UNROLL
    for (unsigned i = 0; i < n / 2; ++i) {
      to[2 * i] = simt::pick_bytes(a[i], b[i], 0x5410);
      to[2 * i + 1] = simt::pick_bytes(a[i], b[i], 0x7632);
    }
  }
}

}  // namespace quire::kernels
