#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <quire/core/byte_floats.hpp>
#include <quire/core/code_layout.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/float8.hpp>
#include <quire/core/packing.hpp>

/// Blocks of values with a scale, as keys, values and weights are quantised: one struct a layout,
/// with size (values of a block), bytes, encode(values, bytes) and decode(bytes, values); `codes` tells
/// where whole numbers lie.
/// A NaN or an infinity among the values makes the whole block NaN.
namespace quire::blockwise {

/// Reads or writes a plain value at any address.
template <class T>
[[nodiscard]] inline T get(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
inline void put(std::byte* to, const T& value) {
  std::memcpy(to, &value, sizeof value);
}

inline constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Largest magnitude; NaN when a value is not finite.
[[nodiscard]] inline float largest(const float* values, std::size_t n) {
  float most = 0, check = 0;
  for (std::size_t i = 0; i < n; ++i) {
    most = std::max(most, std::abs(values[i]));
    check += values[i] * 0.0f;
  }
  return check == 0 ? most : not_a_number;
}

/// 1 / x, or 0 where a block is so small that it counts as zero. \pre x >= 0 or NaN
[[nodiscard]] inline float inverse_of(float x) { return x >= 0x1p-126f ? 1.0f / x : 0.0f; }

/// Nearest integer, ties to even, within [low, high]; low for NaN.
[[nodiscard]] inline int nearest(float x, int low, int high) {
  if (!(x > static_cast<float>(low))) return low;
  if (x >= static_cast<float>(high)) return high;
  return static_cast<int>(std::nearbyint(x));
}

/// Unsigned codes between the least and the largest value: x = scale * q + least, both fp16.
/// The codes are chosen for the scale and the offset as stored. \source KIVI (Liu et al., ICML '24),
/// group-wise asymmetric quantisation; QServe's KV4 with one group a head.
template <unsigned bits, std::size_t n>
struct Asymmetric {
  static constexpr std::size_t size = n;
  static constexpr std::size_t code_bytes = packing::bytes_of<bits>(n);
  static constexpr std::size_t bytes = code_bytes + 2 * sizeof(Fp16);
  static constexpr CodeLayout codes{
      .bits = bits, .scale = CodeLayout::Scale::fp16_and_offset, .scale_at = code_bytes};

  static void encode(const float* values, std::byte* to) { encode(values, n, to); }
  static void decode(const std::byte* from, float* values) { decode(from, n, values); }

  /// The same for a length known at run time. \pre length is a multiple of the packing's granule
  static void encode(const float* values, std::size_t length, std::byte* to) {
    float low = values[0], high = values[0];
    for (std::size_t i = 1; i < length; ++i) {
      low = std::min(low, values[i]);
      high = std::max(high, values[i]);
    }
    constexpr float steps = static_cast<float>((1u << bits) - 1u);
    Fp16 scale, offset;
    if (std::isfinite(largest(values, length))) {
      // What fp16 cannot hold saturates: a pool must not turn a large number into an infinity.
      offset = to_fp16(std::clamp(low, -65504.0f, 65504.0f));
      scale = to_fp16(std::min((high - to_float(offset)) / steps, 65504.0f));
    } else {
      scale = offset = to_fp16(not_a_number);
    }
    const std::size_t at = packing::bytes_of<bits>(length);
    const float s = to_float(scale), inverse = inverse_of(s), o = to_float(offset);
    std::uint8_t codes[256];
    for (std::size_t i = 0; i < length; ++i) {
      codes[i] = static_cast<std::uint8_t>(
          nearest((values[i] - o) * inverse, 0, static_cast<int>((1u << bits) - 1u)));
    }
    packing::pack<bits>(codes, length, to);
    put(to + at, scale);
    put(to + at + sizeof scale, offset);
  }
  static void decode(const std::byte* from, std::size_t length, float* values) {
    const std::size_t at = packing::bytes_of<bits>(length);
    packing::unpack_linear<bits>(from, length, to_float(get<Fp16>(from + at)),
                                 to_float(get<Fp16>(from + at + sizeof(Fp16))), values);
  }
};

/// Signed codes about zero with an fp16 scale: x = scale * q, |q| < 2^(bits - 1), stored with 2^(bits - 1)
/// added. \source round to nearest, as GPTQ and AWQ compare with; the scale is rounded to fp16 first.
template <unsigned bits, std::size_t n>
struct Symmetric {
  static constexpr std::size_t size = n;
  static constexpr std::size_t bytes = packing::bytes_of<bits>(n) + sizeof(Fp16);
  static constexpr int most_code = (1 << (bits - 1)) - 1;

  static void encode(const float* values, std::byte* to) {
    const float step = largest(values, n) / static_cast<float>(most_code);
    const Fp16 scale = to_fp16(step > 65504.0f ? 65504.0f : step);  // NaN stays
    const float inverse = inverse_of(to_float(scale));
    std::uint8_t codes[n];
    for (std::size_t i = 0; i < n; ++i) {
      codes[i] = static_cast<std::uint8_t>(nearest(values[i] * inverse, -most_code, most_code) +
                                           most_code + 1);
    }
    packing::pack<bits>(codes, n, to);
    put(to + packing::bytes_of<bits>(n), scale);
  }
  static void decode(const std::byte* from, float* values) {
    const float scale = to_float(get<Fp16>(from + packing::bytes_of<bits>(n)));
    packing::unpack_linear<bits>(from, n, scale, -scale * static_cast<float>(most_code + 1),
                                 values);
  }
  static constexpr unsigned code_bits = bits;
  /// The zero points that it can hold.
  static constexpr bool holds_zero(std::uint8_t zero) { return zero == most_code + 1; }
  /// Packs codes that were chosen elsewhere, -2^(bits - 1) among them. \pre holds_zero(zero)
  static void put_codes(const std::uint8_t* codes, Fp16 scale, std::uint8_t /*zero*/,
                        std::byte* to) {
    packing::pack<bits>(codes, n, to);
    put(to + packing::bytes_of<bits>(n), scale);
  }
};

/// Unsigned codes about a zero point that is a code itself: x = scale * (q - zero), an fp16 scale and a
/// byte for the zero point. Zero is exact. \source the asymmetric integers of GPTQ's and AWQ's checkpoints
template <unsigned bits, std::size_t n>
struct ZeroPoint {
  static constexpr std::size_t size = n;
  static constexpr std::size_t bytes = packing::bytes_of<bits>(n) + sizeof(Fp16) + 1;
  static constexpr int most_code = (1 << bits) - 1;

  static void encode(const float* values, std::byte* to) {
    const auto [scale, zero] = grid(values);
    const float inverse = inverse_of(to_float(scale));
    std::uint8_t codes[n];
    for (std::size_t i = 0; i < n; ++i) {
      const float q = std::nearbyint(values[i] * inverse) + static_cast<float>(zero);
      codes[i] = static_cast<std::uint8_t>(nearest(q, 0, most_code));
    }
    put_codes(codes, scale, zero, to);
  }
  static void decode(const std::byte* from, float* values) {
    const std::size_t at = packing::bytes_of<bits>(n);
    const float scale = to_float(get<Fp16>(from + at));
    packing::unpack_linear<bits>(
        from, n, scale, -scale * static_cast<float>(get<std::uint8_t>(from + at + 2)), values);
  }
  static constexpr unsigned code_bits = bits;
  // One above the codes as well: checkpoints of GPTQ store the zero point less 1.
  static constexpr bool holds_zero(std::uint8_t zero) { return zero <= most_code + 1; }
  static void put_codes(const std::uint8_t* codes, Fp16 scale, std::uint8_t zero, std::byte* to) {
    packing::pack<bits>(codes, n, to);
    put(to + packing::bytes_of<bits>(n), scale);
    put(to + packing::bytes_of<bits>(n) + 2, zero);
  }

 private:
  struct Grid {
    Fp16 scale;
    std::uint8_t zero;
  };
  /// From the least to the largest value, zero among them.
  static Grid grid(const float* values) {
    float low = 0, high = 0;
    for (std::size_t i = 0; i < n; ++i) {
      low = std::min(low, values[i]);
      high = std::max(high, values[i]);
    }
    if (!std::isfinite(largest(values, n))) return {to_fp16(not_a_number), 0};
    const Fp16 scale = to_fp16(std::min((high - low) / static_cast<float>(most_code), 65504.0f));
    const float zero = -low * inverse_of(to_float(scale));
    return {scale, static_cast<std::uint8_t>(nearest(zero, 0, most_code))};
  }
};

/// 32 signed bytes with an fp16 scale. Bit-exact to ggml's block_q8_0: 34 bytes.
/// \source ggml-quants.c, quantize_row_q8_0_ref: the codes are chosen for the scale before it is
/// rounded to fp16; halves round away from zero (roundf).
struct Q8_0 {
  static constexpr std::size_t size = 32, bytes = 34;
  static constexpr CodeLayout codes{.bits = 8, .codes_at = 2};
  static void encode(const float* values, std::byte* to) {
    const float d = largest(values, size) / 127.0f;
    const float inverse = inverse_of(d);
    put(to, to_fp16(d));
    for (std::size_t i = 0; i < size; ++i) {
      const float q = std::round(values[i] * inverse);
      put(to + 2 + i, static_cast<std::int8_t>(std::isfinite(q) ? q : 0.0f));
    }
  }
  static void decode(const std::byte* from, float* values) {
    packing::unpack_signed(from + 2, size, to_float(get<Fp16>(from)), values);
  }
};

/// 32 codes of 4 bits about 8 with an fp16 scale that takes the sign of the largest value.
/// Bit-exact to ggml's block_q4_0: 18 bytes, element i in the low nibble of byte i, i + 16 in the high.
/// \source ggml-quants.c, quantize_row_q4_0_ref.
struct Q4_0 {
  static constexpr std::size_t size = 32, bytes = 18;
  static constexpr CodeLayout codes{.bits = 4, .codes_at = 2, .zero = 8};
  static void encode(const float* values, std::byte* to) {
    float most = 0, extreme = 0;
    for (std::size_t i = 0; i < size; ++i) {
      if (most < std::abs(values[i])) {
        most = std::abs(values[i]);
        extreme = values[i];
      }
    }
    const bool finite = std::isfinite(largest(values, size));
    const float d = finite ? extreme / -8.0f : not_a_number;
    const float inverse = finite && most >= 0x1p-120f ? 1.0f / d : 0.0f;
    put(to, to_fp16(d));
    std::uint8_t codes[size];
    for (std::size_t i = 0; i < size; ++i) {
      const float q = values[i] * inverse + 8.5f;
      codes[i] = static_cast<std::uint8_t>(q >= 15.0f ? 15 : q > 0 ? static_cast<int>(q) : 0);
    }
    packing::pack<4>(codes, size, to + 2);
  }
  static void decode(const std::byte* from, float* values) {
    const float d = to_float(get<Fp16>(from));
    packing::unpack_linear<4>(from + 2, size, d, -8.0f * d, values);
  }
};

/// The 16 quantiles of a normal distribution that NF4 rounds to.
/// \source bitsandbytes, functional.py, create_normal_map(offset = 0.9677083): Dettmers et al., "QLoRA".
inline constexpr std::array<float, 16> nf4_codes{-1.0f,
                                                 -0.6961928009986877f,
                                                 -0.5250730514526367f,
                                                 -0.39491748809814453f,
                                                 -0.28444138169288635f,
                                                 -0.18477343022823334f,
                                                 -0.09105003625154495f,
                                                 0.0f,
                                                 0.07958029955625534f,
                                                 0.16093020141124725f,
                                                 0.24611230194568634f,
                                                 0.33791524171829224f,
                                                 0.44070982933044434f,
                                                 0.5626170039176941f,
                                                 0.7229568362236023f,
                                                 1.0f};

/// The nearest of ascending `codes`; the lower one of two that are as near, as bitsandbytes' decision
/// tree has it (x > middle goes up).
template <std::size_t count>
[[nodiscard]] inline std::uint8_t nearest_code(const std::array<float, count>& codes, float x) {
  std::uint8_t best = 0;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    best = static_cast<std::uint8_t>(best + (x > (codes[i] + codes[i + 1]) * 0.5f));
  }
  return best;
}

/// NF4 with the block's largest magnitude in fp32.
template <std::size_t n>
struct Nf4 {
  static constexpr std::size_t size = n, bytes = n / 2 + sizeof(float);
  static void encode(const float* values, std::byte* to) {
    const float most = largest(values, n);
    const float inverse = inverse_of(most);
    std::uint8_t codes[n];
    for (std::size_t i = 0; i < n; ++i) codes[i] = nearest_code(nf4_codes, values[i] * inverse);
    packing::pack<4>(codes, n, to);
    put(to + n / 2, most);
  }
  static void decode(const std::byte* from, float* values) {
    packing::unpack_table<4>(from, n, nf4_codes.data(), get<float>(from + n / 2), values);
  }
};

inline constexpr std::array<float, 16> e2m1_values = [] {
  std::array<float, 16> values{};
  for (std::uint8_t i = 0; i < 16; ++i) values[i] = to_float(E2m1{i});
  return values;
}();

namespace detail {
/// FP8 to fp32 by tables, 64 at a time, times a scale. \returns how many
template <class Element, class Widener = simd::ByteWidener>
HWY_INLINE std::size_t look_up(const std::byte* bytes, std::size_t n, float scale, float* values) {
  std::size_t i = 0;
  if constexpr (simd::looks_up_bytes) {
    if (n < 64) return 0;  // the tables alone take as long
    const Widener widen(simd::byte_table<Element>);
    for (; i + 64 <= n; i += 64) {
      const auto found = widen.look_up(bytes + i);
      simd::unrolled<4>([&](auto v) __attribute__((always_inline)) {
        const simd::Vec x = Widener::template in_order<decltype(v)::value>(found);
        simd::store(simd::hn::Mul(x, simd::set(scale)), values + i + v * simd::lanes);
      });
    }
  }
  return i;
}
}  // namespace detail

/// FP8 to fp32, n of them. \shape bytes, values (n)
inline void widen_e4m3(const std::byte* bytes, std::size_t n, float scale, float* values) {
  namespace hn = simd::hn;
  const hn::Rebind<std::int8_t, simd::Floats> narrow;
  const hn::Rebind<std::int16_t, simd::Floats> half;
  const hn::Rebind<hwy::float16_t, simd::Floats> floats;
  const auto* from = reinterpret_cast<const std::uint8_t*>(bytes);
  std::size_t i = detail::look_up<E4m3>(bytes, n, scale, values);
  for (; i + simd::lanes <= n; i += simd::lanes) {
    const auto x =
        hn::PromoteTo(half, hn::LoadU(narrow, reinterpret_cast<const std::int8_t*>(from + i)));
    // Exponent and fraction stand in fp16's places, with another bias; subnormal numbers as well, which
    // cost the processor a hundred cycles each in fp32 and nothing when fp16 is widened.
    const auto y = hn::And(hn::ShiftLeft<7>(x), hn::Set(half, static_cast<std::int16_t>(0xbfff)));
    auto v = hn::PromoteTo(simd::Floats(), hn::BitCast(floats, y));
    // 480 would be next above 448: its code is that of NaN.
    v = hn::IfThenElse(hn::Eq(hn::Abs(v), simd::set(1.875f)), simd::set(not_a_number), v);
    simd::store(hn::Mul(hn::Mul(v, simd::set(0x1p8f)), simd::set(scale)), values + i);
  }
  for (; i < n; ++i) values[i] = to_float(E4m3{from[i]}) * scale;
}

/// \shape bytes, values (n)
inline void widen_e5m2(const std::byte* bytes, std::size_t n, float* values) {
  namespace hn = simd::hn;
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const hn::Rebind<std::uint16_t, simd::Floats> half;
  const hn::Rebind<hwy::float16_t, simd::Floats> floats;
  const auto* from = reinterpret_cast<const std::uint8_t*>(bytes);
  std::size_t i = detail::look_up<E5m2>(bytes, n, 1.0f, values);
  for (; i + simd::lanes <= n; i += simd::lanes) {
    const auto wide = hn::ShiftLeft<8>(hn::PromoteTo(half, hn::LoadU(narrow, from + i)));
    simd::store(hn::PromoteTo(simd::Floats(), hn::BitCast(floats, wide)), values + i);
  }
  for (; i < n; ++i) values[i] = to_float(E5m2{from[i]});
}

/// 32 elements of FP8 E4M3 with a power of two. \source OCP Microscaling Formats, MXFP8: the scale is
/// 2^(floor(log2 largest) - 8), elements saturate.
struct Mxfp8 {
  static constexpr std::size_t size = 32, bytes = 33;
  static void encode(const float* values, std::byte* to) {
    const E8m0 power = power_below(largest(values, size), -8);
    const float scale = to_float(power);
    for (std::size_t i = 0; i < size; ++i) put(to + i, to_e4m3(values[i] / scale));
    put(to + size, power);
  }
  static void decode(const std::byte* from, float* values) {
    widen_e4m3(from, size, to_float(get<E8m0>(from + size)), values);
  }
};

/// 32 elements of FP4 with a power of two. \source OCP Microscaling Formats, MXFP4: the scale is
/// 2^(floor(log2 largest) - 2), elements saturate.
struct Mxfp4 {
  static constexpr std::size_t size = 32, bytes = 17;
  static void encode(const float* values, std::byte* to) {
    const E8m0 power = power_below(largest(values, size), -2);
    const float scale = to_float(power);
    std::uint8_t codes[size];
    for (std::size_t i = 0; i < size; ++i) codes[i] = to_e2m1(values[i] / scale).bits;
    packing::pack<4>(codes, size, to);
    put(to + size / 2, power);
  }
  static void decode(const std::byte* from, float* values) {
    packing::unpack_table<4>(from, size, e2m1_values.data(), to_float(get<E8m0>(from + size / 2)),
                             values);
  }
};

/// 16 elements of FP4 with a scale in FP8 E4M3, beside one fp32 scale for all blocks together.
/// four_over_six: of the scales largest / 6 and largest / 4 the one with the smaller squared error.
/// \source NVIDIA, NVFP4; vLLM's KV cache types nvfp4 and nvfp4_4over6.
template <bool four_over_six = false>
struct Nvfp4 {
  static constexpr std::size_t size = 16, bytes = 9;
  static void encode(const float* values, std::byte* to, float all = 1) {
    const float most = largest(values, size);
    if constexpr (four_over_six) {
      std::byte other[bytes];
      const float six = attempt(values, most / 6 / all, all, to);
      const float four = attempt(values, most / 4 / all, all, other);
      if (four < six) std::memcpy(to, other, bytes);
    } else {
      attempt(values, most / 6 / all, all, to);
    }
  }
  static void decode(const std::byte* from, float* values, float all = 1) {
    packing::unpack_table<4>(from, size, e2m1_values.data(),
                             to_float(get<E4m3>(from + size / 2)) * all, values);
  }

 private:
  /// Encodes with the given scale of the block and tells the squared error.
  static float attempt(const float* values, float wanted, float all, std::byte* to) {
    const E4m3 rounded = to_e4m3(wanted);
    const float scale = to_float(rounded) * all, inverse = inverse_of(scale);
    std::uint8_t codes[size];
    float error = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const E2m1 code = to_e2m1(values[i] * inverse);
      codes[i] = code.bits;
      const float gap = to_float(code) * scale - values[i];
      error += gap * gap;
    }
    packing::pack<4>(codes, size, to);
    put(to + size / 2, rounded);
    return error;
  }
};

}  // namespace quire::blockwise
