// mechanism: FP8 to fp32 by tables held in registers
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include <quire/core/float8.hpp>
#include <quire/core/simd.hpp>

namespace quire::simd {

/// What the 128 magnitudes of an FP8 type are in fp32, of which the upper 16 bits hold them all: a table
/// of each of their bytes. The code's own sign is put to it.
struct ByteTable {
  alignas(64) std::uint8_t upper[128], lower[128];
};
template <class Element>
inline constexpr ByteTable byte_table = [] {
  ByteTable table{};
  for (unsigned i = 0; i < 128; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(to_float(Element{static_cast<std::uint8_t>(i)}));
    table.upper[i] = static_cast<std::uint8_t>(bits >> 24);
    table.lower[i] = static_cast<std::uint8_t>(bits >> 16);
  }
  return table;
}();

/// Rows of FP8 that kernels widen by themselves: a token's channels side by side, times one scale.
struct ByteFloatLayout {
  enum class Scale {
    one,
    fitted,     // the side's one number of a head
    behind_row  // fp32, behind a token's channels
  };
  const ByteTable* table = nullptr;  // null: none
  std::size_t row_bytes = 0;         // from one token to the next
  Scale scale = Scale::one;
};

/// Whether the processor looks up 64 bytes at a time; only then is there a ByteWidener.
#if defined(__AVX512VBMI__) && HWY_TARGET <= HWY_AVX3
inline constexpr bool looks_up_bytes = true;

/// 64 codes at a time to fp32. Numbers below fp32's normal ones, infinities and NaN need no second thought.
class ByteWidener {
 public:
  /// The two bytes of 64 numbers.
  struct Bytes {
    __m512i upper, lower;
  };

  HWY_INLINE explicit ByteWidener(const ByteTable& table)
      : upper_{_mm512_load_si512(table.upper), _mm512_load_si512(table.upper + 64)},
        lower_{_mm512_load_si512(table.lower), _mm512_load_si512(table.lower + 64)} {}

  [[nodiscard]] HWY_INLINE Bytes look_up(__m512i codes) const {
    const __m512i magnitude = _mm512_permutex2var_epi8(upper_[0], codes, upper_[1]);
    constexpr int a_or_b_and_c = 0xf8;
    return {_mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(-128), a_or_b_and_c),
            _mm512_permutex2var_epi8(lower_[0], codes, lower_[1])};
  }
  [[nodiscard]] HWY_INLINE Bytes look_up(Vec codes) const {
    return look_up(_mm512_castps_si512(codes.raw));
  }
  [[nodiscard]] HWY_INLINE Bytes look_up(const std::byte* codes) const {
    return look_up(_mm512_loadu_si512(codes));
  }
  /// Numbers [16 v, 16 v + 16).
  template <std::size_t v>
  [[nodiscard]] static HWY_INLINE Vec in_order(const Bytes& bytes) {
    return put<16 * v, 1>(bytes);
  }
  /// Number b of each word of four.
  template <std::size_t b>
  [[nodiscard]] static HWY_INLINE Vec of_words(const Bytes& bytes) {
    return put<b, 4>(bytes);
  }

 private:
  /// Numbers first, first + apart, ...
  template <std::size_t first, std::size_t apart>
  [[nodiscard]] static HWY_INLINE Vec put(const Bytes& bytes) {
    alignas(64) static constexpr struct Places {
      std::uint8_t at[64] = {};
      constexpr Places() {
        for (std::size_t i = 0; i < 16; ++i) {
          at[4 * i + 2] = static_cast<std::uint8_t>(first + apart * i);
          at[4 * i + 3] = static_cast<std::uint8_t>(64 + first + apart * i);
        }
      }
    } places;
    constexpr __mmask64 upper_halves = 0xccccccccccccccccull;
    return Vec{_mm512_castsi512_ps(_mm512_maskz_permutex2var_epi8(
        upper_halves, bytes.lower, _mm512_load_si512(places.at), bytes.upper))};
  }

  __m512i upper_[2], lower_[2];
};
#else
inline constexpr bool looks_up_bytes = false;
class ByteWidener;
#endif

}  // namespace quire::simd
