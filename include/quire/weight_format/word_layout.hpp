// mechanism: how blocks of whole numbers of many outputs lie side by side, and their numbers
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <quire/core/blockwise.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/columns.hpp>
#include <quire/weight_format/k_quants.hpp>

/// In a panel that lies in words, four neighbouring bytes of codes of an output are followed by those of
/// the next output: what one instruction multiplies with four inputs. The weights are those of
/// Block::decode().
namespace quire::weight_format::words {

using simd::Vec;
namespace hn = simd::hn;

/// How a block lies: where its codes and its scale start. Codes count from the middle one, or from the zero
/// point in the byte behind the scale.
struct Layout {
  unsigned bits;
  std::size_t codes_at, scale_at;
  bool has_sign = false;  // codes of 8 bits about 0 in place of 128; panels hold them about 128
  bool has_zero = false;
  enum class Scale { fp16, e4m3, e8m0 } scale = Scale::fp16;
  bool is_e2m1 =
      false;  // codes of 4 bits name floats, which are whole halves: twice them, about 12
};
/// Twice the numbers of E2M1, about 12. \shape as long as a vector's part that is looked up in
alignas(16) inline constexpr std::uint8_t e2m1_halves[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                             12, 11, 10, 9,  8,  6,  4,  0};

/// Of blocks with one scale that can lie in words; others have none.
template <class Block>
struct LayoutOf {};
template <unsigned bits, std::size_t n>
requires((bits == 4 || bits == 8) && n % 16 == 0) struct LayoutOf<blockwise::Symmetric<bits, n>> {
  static constexpr Layout value{bits, 0, n* bits / 8};
};
template <std::size_t n>
requires(n % 16 == 0) struct LayoutOf<blockwise::ZeroPoint<4, n>> {
  static constexpr Layout value{4, 0, n / 2, false, true};
};
template <>
struct LayoutOf<blockwise::Q8_0> {
  static constexpr Layout value{8, 2, 0, true};
};
template <>
struct LayoutOf<blockwise::Q4_0> {
  static constexpr Layout value{4, 2, 0};
};

// Elsewhere columns.hpp reads them faster.
template <class Block>
requires(simd::multiplies_bytes&& std::same_as<Block, blockwise::Mxfp4>) struct LayoutOf<Block> {
  static constexpr Layout value{4, 0, 16, false, false, Layout::Scale::e8m0, true};
};
template <bool four_over_six>
requires(simd::multiplies_bytes) struct LayoutOf<blockwise::Nvfp4<four_over_six>> {
  static constexpr Layout value{4, 0, 8, false, false, Layout::Scale::e4m3, true};
};

/// Bytes of `lanes` outputs as whole numbers, and fp16. \shape planes (Block::bytes, outputs)
HWY_INLINE simd::WordVec bytes_at(const std::byte* planes, std::size_t outputs, std::size_t n,
                                  std::size_t byte) {
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const auto* from = reinterpret_cast<const std::uint8_t*>(planes + byte * outputs + n);
  return hn::PromoteTo(simd::Words(), hn::LoadU(narrow, from));
}
HWY_INLINE Vec halves_at(const std::byte* planes, std::size_t outputs, std::size_t n,
                         std::size_t byte) {
  const hn::Rebind<hwy::float16_t, simd::Floats> half;
  const std::byte* from = planes + byte * outputs + 2 * n;
  return hn::PromoteTo(simd::Floats(),
                       hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
}
/// Four bytes from `byte` on of `lanes` outputs. \pre byte - the beginning of its run is a multiple of 4
HWY_INLINE simd::WordVec word_at(const std::byte* planes, std::size_t outputs, std::size_t n,
                                 std::size_t byte) {
  return hn::LoadU(simd::Words(),
                   reinterpret_cast<const std::int32_t*>(planes + byte * outputs + 4 * n));
}
HWY_INLINE simd::WordVec shifted(simd::WordVec word, std::size_t bits) {
  return hn::ShiftRightSame(word, static_cast<int>(bits));
}
HWY_INLINE simd::WordVec every_byte(std::int32_t mask) {
  return hn::Set(simd::Words(), mask * 0x01010101);
}

/// Blocks of several parts, each with a scale of its own; others have none. codes_at, codes_end: bytes that
/// lie in words; halves: those of fp16; code(planes, outputs, n, part, w): four codes of a part.
template <class Block>
struct PartsOf {};
template <unsigned bits>
struct PartsOf<blockwise::OffsetSuperBlock<bits>> {
  static constexpr std::size_t parts = 8, codes_at = 16, codes_end = bits == 4 ? 144 : 176,
                               halves = 2;  // from 0 on
  static constexpr int middle = 0;
  static constexpr bool has_zero = true;
  static constexpr std::size_t lower = codes_end - 128;

  static HWY_INLINE simd::WordVec code(const std::byte* planes, std::size_t outputs, std::size_t n,
                                       std::size_t part, std::size_t w) {
    const auto low = word_at(planes, outputs, n, lower + part / 2 * 32 + 4 * w);
    const auto code = hn::And(shifted(low, part % 2 * 4), every_byte(15));
    if constexpr (bits == 4) return code;
    const auto high =
        hn::And(shifted(word_at(planes, outputs, n, 16 + 4 * w), part), every_byte(1));
    return hn::Or(code, hn::ShiftLeft<4>(high));
  }
  static HWY_INLINE Vec scale(const std::byte* planes, std::size_t outputs, std::size_t n,
                              std::size_t part) {
    const auto six = part < 4 ? hn::And(bytes_at(planes, outputs, n, 4 + part), low_bits(6))
                              : hn::Or(hn::And(bytes_at(planes, outputs, n, 8 + part), low_bits(4)),
                                       upper_two(planes, outputs, n, part));
    return hn::Mul(halves_at(planes, outputs, n, 0), hn::ConvertTo(simd::Floats(), six));
  }
  static HWY_INLINE Vec offset(const std::byte* planes, std::size_t outputs, std::size_t n,
                               std::size_t part) {
    const auto six = part < 4 ? hn::And(bytes_at(planes, outputs, n, 8 + part), low_bits(6))
                              : hn::Or(hn::ShiftRight<4>(bytes_at(planes, outputs, n, 8 + part)),
                                       upper_two(planes, outputs, n, part + 4));
    return hn::Mul(halves_at(planes, outputs, n, 2), hn::ConvertTo(simd::Floats(), six));
  }

 private:
  static HWY_INLINE simd::WordVec low_bits(int count) {
    return hn::Set(simd::Words(), (1 << count) - 1);
  }
  /// Bits 4 and 5 of a number of the last four parts lie above one of the first four.
  static HWY_INLINE simd::WordVec upper_two(const std::byte* planes, std::size_t outputs,
                                            std::size_t n, std::size_t byte) {
    return hn::ShiftLeft<4>(hn::ShiftRight<6>(bytes_at(planes, outputs, n, byte)));
  }
};
template <>
struct PartsOf<blockwise::Q6K> {
  static constexpr std::size_t parts = 16, codes_at = 0, codes_end = 192,
                               halves = 1;  // from 208 on
  static constexpr int middle = 32;
  static constexpr bool has_zero = false;

  static HWY_INLINE simd::WordVec code(const std::byte* planes, std::size_t outputs, std::size_t n,
                                       std::size_t part, std::size_t w) {
    const std::size_t half = part / 8, run = part % 8 / 2, at = part % 2 * 16 + 4 * w;
    const auto low = word_at(planes, outputs, n, half * 64 + run % 2 * 32 + at);
    const auto high = word_at(planes, outputs, n, 128 + half * 32 + at);
    return hn::Or(hn::And(shifted(low, run / 2 * 4), every_byte(15)),
                  hn::ShiftLeft<4>(hn::And(shifted(high, run * 2), every_byte(3))));
  }
  static HWY_INLINE Vec scale(const std::byte* planes, std::size_t outputs, std::size_t n,
                              std::size_t part) {
    const auto byte = bytes_at(planes, outputs, n, 192 + part);
    const auto number = hn::ShiftRight<24>(hn::ShiftLeft<24>(byte));
    return hn::Mul(halves_at(planes, outputs, n, 208), hn::ConvertTo(simd::Floats(), number));
  }
};

template <class Block>
concept InParts = requires {
  PartsOf<Block>::parts;
};
/// Whether panels of the block lie in words.
template <class Block>
concept InWords = InParts<Block> || requires {
  LayoutOf<Block>::value;
};

/// Of a block: neighbouring inputs with one scale, and how many such runs there are.
template <InWords Block>
inline constexpr std::size_t parts = [] {
  if constexpr (InParts<Block>) return PartsOf<Block>::parts;
  return std::size_t{1};
}();
template <InWords Block>
inline constexpr std::size_t part_size = Block::size / parts<Block>;
/// The code of zero, where no offset says it.
template <InWords Block>
inline constexpr int middle = [] {
  if constexpr (InParts<Block>) {
    return PartsOf<Block>::middle;
  } else {
    return LayoutOf<Block>::value.is_e2m1 ? 12 : 1 << (LayoutOf<Block>::value.bits - 1);
  }
}();
template <InWords Block>
inline constexpr bool has_zero = [] {
  if constexpr (InParts<Block>) {
    return PartsOf<Block>::has_zero;
  } else {
    return LayoutOf<Block>::value.has_zero;
  }
}();
/// Bytes of a block that lie in words.
template <InWords Block>
inline constexpr std::size_t code_bytes = [] {
  if constexpr (InParts<Block>) {
    return PartsOf<Block>::codes_end - PartsOf<Block>::codes_at;
  } else {
    return Block::size * LayoutOf<Block>::value.bits / 8;
  }
}();

/// Where byte j of output n's block is, from the beginning of the blocks of all outputs.
template <InWords Block>
[[nodiscard]] constexpr std::size_t place(std::size_t outputs, std::size_t n, std::size_t j) {
  const auto within = [&](std::size_t run, std::size_t each) {
    const std::size_t i = j - run;
    return run * outputs + (i / each * outputs + n) * each + i % each;
  };
  if constexpr (InParts<Block>) {
    using At = PartsOf<Block>;
    if (j - At::codes_at < code_bytes<Block>) return within(At::codes_at, 4);
    constexpr std::size_t halves_at = At::codes_at == 0 ? Block::bytes - 2 : 0;
    if (j - halves_at < 2 * At::halves) return within(halves_at, 2);
  } else {
    constexpr Layout at = LayoutOf<Block>::value;
    if (j - at.codes_at < code_bytes<Block>) return within(at.codes_at, 4);
    if (at.scale == Layout::Scale::fp16 && j - at.scale_at < 2) return within(at.scale_at, 2);
  }
  return j * outputs + n;
}
/// What is stored for byte j, and back.
template <InWords Block>
[[nodiscard]] constexpr std::byte flipped([[maybe_unused]] std::size_t j, std::byte b) {
  if constexpr (!InParts<Block>) {
    constexpr Layout at = LayoutOf<Block>::value;
    if (at.has_sign && j - at.codes_at < code_bytes<Block>) return b ^ std::byte{0x80};
  }
  return b;
}

/// Scales of a part of `lanes` outputs, and their zero points times these.
/// \shape planes: a block of each output
template <InWords Block>
HWY_INLINE Vec scales_of(const std::byte* planes, std::size_t outputs, std::size_t n,
                         [[maybe_unused]] std::size_t part) {
  if constexpr (InParts<Block>) {
    return PartsOf<Block>::scale(planes, outputs, n, part);
  } else {
    constexpr Layout at = LayoutOf<Block>::value;
    const std::byte* from = planes + at.scale_at * outputs + n;
    if constexpr (at.scale == Layout::Scale::e8m0) {
      return hn::Mul(columns::e8m0_scales(from), simd::set(0.5f));
    } else if constexpr (at.scale == Layout::Scale::e4m3) {
      return hn::Mul(columns::e4m3_scales(from), simd::set(0.5f));
    } else {
      return halves_at(planes, outputs, n, at.scale_at);
    }
  }
}
template <InWords Block>
HWY_INLINE Vec offsets_of(const std::byte* planes, std::size_t outputs, std::size_t n,
                          [[maybe_unused]] std::size_t part, [[maybe_unused]] Vec scales) {
  if constexpr (InParts<Block>) {
    return PartsOf<Block>::offset(planes, outputs, n, part);
  } else {
    const auto zero = bytes_at(planes, outputs, n, LayoutOf<Block>::value.scale_at + 2);
    return hn::Mul(scales, hn::ConvertTo(simd::Floats(), zero));
  }
}

/// What codes of 4 bits, a byte each, stand for as whole numbers from 0 on.
template <InWords Block>
HWY_INLINE simd::WordVec numbers_of(simd::WordVec codes) {
#if HWY_TARGET != HWY_SCALAR  // there none of them lies in words
  if constexpr (!InParts<Block>) {
    if constexpr (LayoutOf<Block>::value.is_e2m1) {
      const hn::Repartition<std::uint8_t, simd::Words> bytes;
      return hn::BitCast(simd::Words(), hn::TableLookupBytes(hn::LoadDup128(bytes, e2m1_halves),
                                                             hn::BitCast(bytes, codes)));
    }
  }
#endif
  return codes;
}

/// Elements [first, first + count) of one block each of `lanes` outputs from n on.
/// \shape values (count, outputs)
template <InWords Block>
void decode(const std::byte* planes, std::size_t outputs, std::size_t n, std::size_t first,
            std::size_t count, float* values) {
  constexpr std::size_t size = part_size<Block>;
  Vec scales = hn::Zero(simd::Floats()), offsets = scales;
  simd::WordVec word = hn::Zero(simd::Words());
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t element = first + i, part = element / size, k = element % size;
    if (i == 0 || k == 0) {
      scales = scales_of<Block>(planes, outputs, n, part);
      if constexpr (has_zero<Block>) offsets = offsets_of<Block>(planes, outputs, n, part, scales);
    }
    std::size_t shift = element % 4 * 8;
    std::int32_t mask = 0xff;
    if constexpr (InParts<Block>) {
      if (i == 0 || k % 4 == 0) word = PartsOf<Block>::code(planes, outputs, n, part, k / 4);
    } else {
      constexpr Layout at = LayoutOf<Block>::value;
      constexpr std::size_t run = code_bytes<Block>;
      word = word_at(planes, outputs, n, at.codes_at + element % run / 4 * 4);
      shift += element / run * 4;
      mask = (1 << at.bits) - 1;
    }
    auto code = hn::And(shifted(word, shift), hn::Set(simd::Words(), mask));
    code = hn::And(numbers_of<Block>(code), hn::Set(simd::Words(), 0xff));
    Vec x;
    if constexpr (has_zero<Block>) {
      x = hn::MulSub(hn::ConvertTo(simd::Floats(), code), scales, offsets);
    } else {
      const auto number = hn::Sub(code, hn::Set(simd::Words(), middle<Block>));
      x = hn::Mul(scales, hn::ConvertTo(simd::Floats(), number));
    }
    simd::store(x, values + i * outputs + n);
  }
}

}  // namespace quire::weight_format::words
