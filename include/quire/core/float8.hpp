#pragma once

#include <bit>
#include <cstdint>

#include <quire/core/float16.hpp>
#include <quire/core/hd.hpp>

namespace quire {

/// FP8 with 4 exponent and 3 fraction bits, bias 7, no infinity, largest 448, NaN 0x7f and 0xff.
/// \source OCP 8-bit Floating Point Specification (OFP8), E4M3.
struct E4m3 {
  std::uint8_t bits = 0;
  friend constexpr bool operator==(const E4m3&, const E4m3&) = default;
};

/// FP8 with 5 exponent and 2 fraction bits, bias 15: the upper half of an fp16. Largest 57344.
/// \source OCP 8-bit Floating Point Specification (OFP8), E5M2.
struct E5m2 {
  std::uint8_t bits = 0;
  friend constexpr bool operator==(const E5m2&, const E5m2&) = default;
};

/// FP4 with 2 exponent bits and 1 fraction bit: 0, .5, 1, 1.5, 2, 3, 4, 6 and their negatives, in the
/// low 4 bits. \source OCP Microscaling Formats Specification, FP4.
struct E2m1 {
  std::uint8_t bits = 0;
  friend constexpr bool operator==(const E2m1&, const E2m1&) = default;
};

/// A power of two from 2^-127 to 2^127; 0xff is NaN. \source OCP Microscaling, E8M0.
struct E8m0 {
  std::uint8_t bits = 0;
  friend constexpr bool operator==(const E8m0&, const E8m0&) = default;
};

namespace detail {

/// Rounds |x| to nearest even in a format of `fraction` fraction bits and exponent bias `bias`; the
/// result counts the format's magnitudes from 0 up, at most `most`. \pre x is not NaN
template <std::uint32_t fraction, std::uint32_t bias>
[[nodiscard]] QUIRE_HD constexpr std::uint32_t small_magnitude(float x, std::uint32_t most) {
  const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
  constexpr std::uint32_t dropped = 23 - fraction;
  constexpr std::uint32_t first_normal = (128 - bias) << 23;  // 2^(1 - bias)
  std::uint32_t code = 0;
  if (magnitude >= first_normal) {
    const std::uint32_t odd = (magnitude >> dropped) & 1u;
    const std::uint32_t rounded = magnitude + ((1u << (dropped - 1)) - 1u) + odd;
    code = (rounded >> dropped) - ((127 - bias) << fraction);
  } else {  // a multiple of 2^(1 - bias - fraction)
    const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = dropped + (128 - bias) - (magnitude >> 23);
    if (magnitude >= 0x800000u && shift < 26) {
      const std::uint32_t tie = 1u << (shift - 1u), rest = significand & ((1u << shift) - 1u);
      code = significand >> shift;
      code += (rest > tie || (rest == tie && (code & 1u) != 0)) ? 1u : 0u;
    }
  }
  return code < most ? code : most;
}
[[nodiscard]] QUIRE_HD constexpr bool is_nan(float x) {
  return (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u;
}
[[nodiscard]] QUIRE_HD constexpr std::uint32_t sign_at(float x, std::uint32_t bit) {
  return (std::bit_cast<std::uint32_t>(x) >> 31) << bit;
}

}  // namespace detail

[[nodiscard]] QUIRE_HD constexpr float to_float(E4m3 x) {
  const std::uint32_t magnitude = x.bits & 0x7fu;
  if (magnitude == 0x7fu) return std::bit_cast<float>(0x7fc00000u);
  // The exponent field lands in fp32's; what is missing is the difference of the biases.
  const float value = magnitude < 8 ? static_cast<float>(magnitude) * 0x1p-9f
                                    : std::bit_cast<float>((magnitude << 20) + (120u << 23));
  return (x.bits & 0x80u) != 0 ? -value : value;
}
[[nodiscard]] QUIRE_HD constexpr float to_float(E5m2 x) {
  return to_float(Fp16{static_cast<std::uint16_t>(x.bits << 8)});
}
[[nodiscard]] QUIRE_HD constexpr float to_float(E2m1 x) {
  constexpr float magnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const float value = magnitudes[x.bits & 7u];
  return (x.bits & 8u) != 0 ? -value : value;
}
[[nodiscard]] QUIRE_HD constexpr float to_float(E8m0 x) {
  if (x.bits == 0xffu) return std::bit_cast<float>(0x7fc00000u);
  if (x.bits == 0) return 0x1p-127f;
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 23);
}

/// Rounds to nearest, ties to even; beyond 448, infinity too, becomes 448; NaN stays NaN.
[[nodiscard]] QUIRE_HD constexpr E4m3 to_e4m3(float x) {
  const std::uint32_t magnitude =
      detail::is_nan(x) ? 0x7fu : detail::small_magnitude<3, 7>(x, 0x7eu);
  return {static_cast<std::uint8_t>(detail::sign_at(x, 7) | magnitude)};
}
/// Rounds to nearest, ties to even; beyond 57344, infinity too, becomes 57344; NaN stays NaN.
[[nodiscard]] QUIRE_HD constexpr E5m2 to_e5m2(float x) {
  const std::uint32_t magnitude =
      detail::is_nan(x) ? 0x7fu : detail::small_magnitude<2, 15>(x, 0x7bu);
  return {static_cast<std::uint8_t>(detail::sign_at(x, 7) | magnitude)};
}
/// Rounds to nearest, ties to even; beyond 6 becomes 6. There is no NaN: it becomes 6 as well.
[[nodiscard]] QUIRE_HD constexpr E2m1 to_e2m1(float x) {
  if (detail::is_nan(x)) return {7};
  return {static_cast<std::uint8_t>(detail::sign_at(x, 3) | detail::small_magnitude<1, 1>(x, 7u))};
}
/// The largest power of two that is at most |x|, times 2^shift, within the format's range; NaN and
/// infinity become NaN. \unit shift: minus the exponent of the element format's largest value
[[nodiscard]] QUIRE_HD constexpr E8m0 power_below(float x, int shift) {
  const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) return {0xff};
  int exponent = static_cast<int>(magnitude >> 23);  // biased; subnormal numbers count as 2^-127
  exponent += shift;
  return {static_cast<std::uint8_t>(exponent < 0 ? 0 : exponent > 254 ? 254 : exponent)};
}

template <>
[[nodiscard]] QUIRE_HD constexpr E4m3 from_float<E4m3>(float x) {
  return to_e4m3(x);
}
template <>
[[nodiscard]] QUIRE_HD constexpr E5m2 from_float<E5m2>(float x) {
  return to_e5m2(x);
}

}  // namespace quire
