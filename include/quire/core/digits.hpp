#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <quire/core/byte_products.hpp>
#include <quire/core/simd.hpp>

/// Floats as whole numbers written as signed bytes, so that their products with codes of 4 or 8 bits are
/// exact sums: three hold 23 bits, which rounds as fp32 does against the largest of them; two are 16 bits,
/// one is 8.
namespace quire::simd {

inline constexpr std::size_t code_digits = 3;  // of 23 bits

/// A whole number in digits, the highest as large as it must be.
template <std::size_t Digits = code_digits>
void split_digits(std::int32_t number, std::int32_t* digits) {
  for (std::size_t d = 0; d + 1 < Digits; ++d) {
    const std::uint32_t low = static_cast<std::uint32_t>(number) & 0xffu;
    digits[d] = static_cast<std::int32_t>(low ^ 0x80u) - 0x80;  // the byte with its sign
    number = (number - digits[d]) / 256;
  }
  digits[Digits - 1] = number;
}

/// The largest magnitude; infinity or NaN where an x is not finite. \shape x (n), n a multiple of 16
inline float largest_magnitude(const float* x, std::size_t n) {
  // As whole numbers, magnitudes are ordered as they are, and infinity and NaN come last.
  WordVec most = hn::Zero(Words());
  for (std::size_t i = 0; i < n; i += lanes) {
    most = hn::Max(most, hn::BitCast(Words(), hn::Abs(load(x + i))));
  }
  return std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(Words(), most)));
}

namespace detail {
/// x * factor as a whole number. Of two digits as store_two_digits() rounds, so that a number does not
/// depend on how many stand beside it.
template <std::size_t Digits>
HWY_INLINE WordVec rounded(Vec x, Vec factor) {
  if constexpr (Digits == 2) {
    const Vec magic = set(0x1.8p23f);
    return hn::Sub(hn::BitCast(Words(), hn::MulAdd(x, factor, magic)), hn::BitCast(Words(), magic));
  } else {
    return hn::NearestInt(hn::Mul(x, factor));
  }
}

#if HWY_TARGET != HWY_SCALAR
/// Digits of 4 * lanes numbers of 16 bits, those above `stride` behind those below; adds the numbers to
/// sums. \pre |x * factor| <= 127 * 257
HWY_INLINE void store_two_digits(const float* x, Vec factor, std::int8_t* digits,
                                 std::size_t stride, WordVec& sums) {
  // Between 2^23 and 2^24 a float's last bit is worth 1, so that adding rounds. With 128 more, the second
  // byte is the upper digit, and the first one is 128 more than the lower digit.
  constexpr float magic = 0x1.8p23f + 128;
  const hn::RebindToUnsigned<Words> words;
  const hn::Repartition<std::uint8_t, Floats> bytes;
  const auto number = [&](std::size_t at) __attribute__((always_inline)) {
    const auto bits = hn::BitCast(Words(), hn::MulAdd(load(x + at), factor, set(magic)));
    sums = hn::Add(sums, bits);
    return hn::BitCast(words, bits);
  };
#if HWY_TARGET <= HWY_AVX3_DL
  // Lower bytes of two vectors' words, then upper ones: a shuffle that Highway has no name for.
  alignas(64) static constexpr auto order = [] {
    std::array<std::uint8_t, 64> from{};
    for (std::size_t i = 0; i < 64; ++i) {
      from[i] = static_cast<std::uint8_t>(i % 32 * 4 + i / 32);
    }
    return from;
  }();
  const auto from = hn::Load(bytes, order.data());
  const auto pair = [&](std::size_t i) __attribute__((always_inline)) {
    const auto former = number(i), latter = number(i + lanes);
    return decltype(from){_mm512_permutex2var_epi8(former.raw, from.raw, latter.raw)};
  };
  const auto former = pair(0), latter = pair(2 * lanes);
  const auto lower = hn::ConcatLowerLower(bytes, latter, former);
  const auto upper = hn::ConcatUpperUpper(bytes, latter, former);
#else
  const hn::Rebind<std::uint16_t, Floats> half;
  const hn::Repartition<std::uint16_t, Floats> halves;
  const auto pair = [&](std::size_t i) __attribute__((always_inline)) {
    const auto former = hn::TruncateTo(half, number(i));
    const auto latter = hn::TruncateTo(half, number(i + lanes));
    return hn::BitCast(bytes, hn::Combine(halves, latter, former));
  };
  const auto former = pair(0), latter = pair(2 * lanes);
  const auto lower = hn::ConcatEven(bytes, latter, former);
  const auto upper = hn::ConcatOdd(bytes, latter, former);
#endif
  hn::StoreU(hn::Xor(lower, hn::Set(bytes, 0x80)), bytes, reinterpret_cast<std::uint8_t*>(digits));
  hn::StoreU(upper, bytes, reinterpret_cast<std::uint8_t*>(digits + stride));
  constexpr std::uint32_t each = std::bit_cast<std::uint32_t>(magic);
  sums = hn::Sub(sums, hn::Set(Words(), static_cast<std::int32_t>(4 * each)));
}
#endif
}  // namespace detail

/// How floats become whole numbers: times `inverse`; x = step * number. The step is NaN where a float is not
/// finite.
struct DigitScale {
  float inverse, step;
};
/// \pre largest == largest_magnitude of the floats
template <std::size_t Digits = code_digits>
DigitScale digit_scale(float largest) {
  static_assert(Digits >= 1 && Digits <= code_digits);
  // the largest number
  constexpr float most = Digits == 1 ? 127.0f : Digits == 2 ? 127.0f * 257 : 0x1p22f;
  if (!std::isfinite(largest)) return {0, std::numeric_limits<float>::quiet_NaN()};
  return {largest >= 0x1p-100f ? most / largest : 0.0f, largest / most};
}

/// Writes whole numbers as so many signed bytes, lowest first, and gives lanes that sum to the numbers' sum.
/// \shape x (n), n a multiple of 16; digits (Digits, stride)
template <std::size_t Digits = code_digits>
HWY_INLINE WordVec write_digits(const float* x, std::size_t n, const DigitScale& scale,
                                std::int8_t* digits, std::size_t stride) {
  const hn::Rebind<std::int8_t, Floats> bytes;
  const bool finite = !std::isnan(scale.step);
  const Vec inverse = set(scale.inverse);
  WordVec sums = hn::Zero(Words());
  std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (Digits == 2) {
    for (; finite && i + 4 * lanes <= n; i += 4 * lanes) {
      detail::store_two_digits(x + i, inverse, digits + i, stride, sums);
    }
  }
#endif
  for (; i < n; i += lanes) {
    auto rest = hn::Zero(Words());
    if (finite) rest = detail::rounded<Digits>(load(x + i), inverse);
    sums = hn::Add(sums, rest);
    unrolled<Digits>([&](auto d) __attribute__((always_inline)) {
      // the highest digit is what is left
      const auto digit = d + 1 == Digits ? rest : hn::ShiftRight<24>(hn::ShiftLeft<24>(rest));
      hn::StoreU(hn::DemoteTo(bytes, digit), bytes, digits + d * stride + i);
      rest = hn::ShiftRight<8>(hn::Sub(rest, digit));
    });
  }
  return sums;
}

/// Writes x = step * (whole numbers of so many signed bytes, lowest first) and gives step; NaN where an x
/// is not finite. Numbers are zeros where the largest magnitude is below 2^-100, which the inverse of a step
/// would overflow for not far below. \shape x (n), n a multiple of 16; digits (Digits, stride); total (Digits): digits of the
/// sum, the highest as large as it must be
/// \pre largest == largest_magnitude(x, n)
template <std::size_t Digits = code_digits>
float to_digits(const float* x, std::size_t n, float largest, std::int8_t* digits,
                std::size_t stride, std::int32_t* total) {
  const DigitScale scale = digit_scale<Digits>(largest);
  const WordVec sums = write_digits<Digits>(x, n, scale, digits, stride);
  split_digits<Digits>(hn::GetLane(hn::SumOfLanes(Words(), sums)), total);
  return scale.step;
}

}  // namespace quire::simd
