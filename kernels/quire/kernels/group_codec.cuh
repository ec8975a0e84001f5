#pragma once

#include <cstdint>
#include <type_traits>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/kv_access.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// The nearest number that fp16 holds; the largest one for those beyond.
QUIRE_DEVICE float as_fp16(float x) {
  const float most = x > 65504.0f ? 65504.0f : x;
  return simt::widen(simt::narrow<Fp16>(most < -65504.0f ? -65504.0f : most));
}
/// The nearest whole number from 0 to 15.
QUIRE_DEVICE unsigned whole_code(float x) {
  const float q = simt::round_even(x);
  return q > 15.0f ? 15u : q > 0.0f ? static_cast<unsigned>(q) : 0u;
}

/// What a group's codes mean, by what stands beside them (as core/blockwise.hpp has it, bit for bit).
/// - end_of(least, most, inverse, shift): of a group between these values; a value's code is
///   code((x - shift) * inverse).
/// - number(code, end): what a code stands for.
/// - Half: what the codes of keys and values become for products with queries of type Query;
///   pairs<Half>(four): four bytes of codes, not yet scaled, bytes 0 and 1 in the first pair;
///   scale(end), least(end).
template <class End>
struct GroupCodec;

/// Whole numbers 0 to 15. Half is fp16, in which they lose least.
template <>
struct GroupCodec<ScaleAndLeast> {
  using End = ScaleAndLeast;
  template <class Query>
  using Half = Fp16;
  static constexpr bool has_least = true;

  QUIRE_DEVICE static ScaleAndLeast end_of(float least, float most, float& inverse, float& shift) {
    shift = as_fp16(least);
    const float scale = as_fp16((most - shift) / 15.0f);
    inverse = scale >= 0x1p-126f ? 1.0f / scale : 0.0f;
    return {simt::narrow<Fp16>(scale), simt::narrow<Fp16>(shift)};
  }
  QUIRE_DEVICE static unsigned code(float x) { return whole_code(x); }
  QUIRE_DEVICE static float scale(ScaleAndLeast end) { return simt::widen(end.scale); }
  QUIRE_DEVICE static float least(ScaleAndLeast end) { return simt::widen(end.least); }
  QUIRE_DEVICE static float number(unsigned code, ScaleAndLeast end) {
    return simt::fma(static_cast<float>(code), scale(end), least(end));
  }
  template <class Half>
  QUIRE_DEVICE static simt::Vector<std::uint32_t, 2> pairs(std::uint32_t four) {
    return simt::widen_four<Half, std::int8_t>(four);
  }
};

/// FP4, with a scale alone. Half is the queries' type: both hold each product of a code and a scale.
struct FloatCodes {
  template <class Query>
  using Half = Query;
  static constexpr bool has_least = false;

  QUIRE_DEVICE static unsigned code(float x) { return to_e2m1(x).bits; }
  /// Sign and magnitude as the highest bits of a float whose exponent is the lowest: 2^126 too small.
  QUIRE_DEVICE static float value(unsigned code) {
    return simt::bit_cast<float>((code & 8u) << 28 | (code & 7u) << 22) * 0x1p126f;
  }
  template <class Half>
  QUIRE_DEVICE static simt::Vector<std::uint32_t, 2> pairs(std::uint32_t four) {
    constexpr bool brain = std::is_same_v<Half, Bf16>;
    simt::Vector<std::uint32_t, 2> to;
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      const std::uint32_t w = simt::pick_bytes(four, 0, i == 0 ? 0x4140 : 0x4342);
      const std::uint32_t small = (w & 0x00080008u) << 12 | (w & 0x00070007u) << (brain ? 6 : 9);
      to.v[i] = simt::multiply_add_pairs<Half>(small, brain ? 0x7e807e80u : 0x74007400u,
                                               0x80008000u);  // times 2^126, 2^14
    }
    return to;
  }
};
template <>
struct GroupCodec<E8m0> : FloatCodes {
  using End = E8m0;
  QUIRE_DEVICE static E8m0 end_of(float least, float most, float& inverse, float& shift) {
    const E8m0 power = power_below(simt::max(most, -least), -2);
    shift = 0;
    inverse = 1.0f / scale(power);
    return power;
  }
  QUIRE_DEVICE static float scale(E8m0 end) { return to_float(end); }
  QUIRE_DEVICE static float least(E8m0) { return 0; }
  QUIRE_DEVICE static float number(unsigned code, E8m0 end) { return value(code) * scale(end); }
};
template <>
struct GroupCodec<E4m3> : FloatCodes {
  using End = E4m3;
  QUIRE_DEVICE static E4m3 end_of(float least, float most, float& inverse, float& shift) {
    const E4m3 rounded = to_e4m3(simt::max(most, -least) / 6.0f);
    const float of = scale(rounded);
    shift = 0;
    inverse = of >= 0x1p-126f ? 1.0f / of : 0.0f;
    return rounded;
  }
  QUIRE_DEVICE static float scale(E4m3 end) { return simt::widen(end); }
  QUIRE_DEVICE static float least(E4m3) { return 0; }
  QUIRE_DEVICE static float number(unsigned code, E4m3 end) { return value(code) * scale(end); }
};

/// The codec of a format's packed codes; of other formats one that nobody uses.
template <class Access>
struct AccessCodec {
  using type = GroupCodec<ScaleAndLeast>;
};
template <class Access>
requires packs_codes<Access>
struct AccessCodec<Access> {
  using type = GroupCodec<typename Access::End>;
};
template <class Access>
using CodecOf = typename AccessCodec<Access>::type;

}  // namespace quire::kernels
