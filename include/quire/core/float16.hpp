#pragma once

#include <bit>
#include <cstdint>

#include <quire/core/hd.hpp>

namespace quire {

/// bfloat16: the upper half of an fp32.
struct Bf16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(const Bf16&, const Bf16&) = default;
};

/// IEEE 754 binary16.
struct Fp16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(const Fp16&, const Fp16&) = default;
};

[[nodiscard]] QUIRE_HD constexpr float to_float(float x) { return x; }
[[nodiscard]] QUIRE_HD constexpr float to_float(Bf16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
[[nodiscard]] QUIRE_HD constexpr float to_float(Fp16 x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) {  // infinity, NaN
    return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  }
  if (magnitude < 0x0400u) {  // zero, subnormal: a multiple of 2^-24, exact in fp32
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
}

/// Rounds to nearest, ties to even; NaN stays a (quiet) NaN.
[[nodiscard]] QUIRE_HD constexpr Bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<std::uint16_t>((bits >> 16) | 0x0040u)};
  }
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

/// Rounds to nearest, ties to even; beyond 65504 becomes infinity, NaN stays a (quiet) NaN.
[[nodiscard]] QUIRE_HD constexpr Fp16 to_fp16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  } else if (magnitude > 0x33000000u) {  // subnormal: shift the significand into place
    const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = 126u - (magnitude >> 23);
    const std::uint32_t kept = significand >> shift;
    const std::uint32_t dropped = significand & ((1u << shift) - 1u);
    const std::uint32_t tie = 1u << (shift - 1u);
    half = kept + ((dropped > tie || (dropped == tie && (kept & 1u) != 0)) ? 1u : 0u);
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

/// Converts fp32 to a storage element by type.
template <class Element>
[[nodiscard]] QUIRE_HD constexpr Element from_float(float x);
template <>
[[nodiscard]] QUIRE_HD constexpr float from_float<float>(float x) {
  return x;
}
template <>
[[nodiscard]] QUIRE_HD constexpr Bf16 from_float<Bf16>(float x) {
  return to_bf16(x);
}
template <>
[[nodiscard]] QUIRE_HD constexpr Fp16 from_float<Fp16>(float x) {
  return to_fp16(x);
}

}  // namespace quire
