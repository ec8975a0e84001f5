// mechanism: blocks of whole numbers of many outputs side by side, multiplied as they are
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <quire/core/blockwise.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/digits.hpp>
#include <quire/core/simd.hpp>

/// In a panel that lies in words, four neighbouring bytes of codes of an output are followed by those of
/// the next output: what one instruction multiplies with four inputs. Rows of inputs become whole numbers
/// of so many bytes, their digits, with a scale a block: three hold 23 bits (core/digits.hpp), and a
/// block's sum is rounded as a sum of fp32 would be when it is put together; one is activations rounded to
/// 8 bits. Sums of whole numbers are exact. The weights are those of Block::decode().
namespace quire::weight_format::words {

using simd::Vec;
namespace hn = simd::hn;

/// How a block lies: where its codes and its fp16 scale start. Codes count from the middle one, or from
/// the zero point in the byte behind the scale.
struct Layout {
  unsigned bits;
  std::size_t codes_at, scale_at;
  bool has_sign = false;  // codes of 8 bits about 0 in place of 128; panels hold them about 128
  bool has_zero = false;
};

/// Of blocks that can lie in words; others have none.
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

/// Whether panels of the block lie in words.
template <class Block>
concept InWords = requires {
  LayoutOf<Block>::value;
};

template <InWords Block>
inline constexpr std::size_t code_bytes = Block::size* LayoutOf<Block>::value.bits / 8;
template <InWords Block>
inline constexpr int middle = 1 << (LayoutOf<Block>::value.bits - 1);

/// Where byte j of output n's block is, from the beginning of the blocks of all outputs.
template <InWords Block>
[[nodiscard]] constexpr std::size_t place(std::size_t outputs, std::size_t n, std::size_t j) {
  constexpr Layout at = LayoutOf<Block>::value;
  if (j - at.codes_at < code_bytes<Block>) {
    const std::size_t i = j - at.codes_at;
    return at.codes_at * outputs + (i / 4 * outputs + n) * 4 + i % 4;
  }
  if (j - at.scale_at < sizeof(quire::Fp16)) return at.scale_at * outputs + 2 * n + j - at.scale_at;
  return j * outputs + n;
}
/// What is stored for byte j, and back.
template <InWords Block>
[[nodiscard]] constexpr std::byte flipped(std::size_t j, std::byte b) {
  constexpr Layout at = LayoutOf<Block>::value;
  return at.has_sign && j - at.codes_at < code_bytes<Block> ? b ^ std::byte{0x80} : b;
}

/// Scales of `lanes` outputs, and their zero points times these.
/// \shape planes: a block of each output
template <InWords Block>
HWY_INLINE Vec scales_of(const std::byte* planes, std::size_t outputs, std::size_t n) {
  const hn::Rebind<hwy::float16_t, simd::Floats> half;
  const std::byte* from = planes + LayoutOf<Block>::value.scale_at * outputs + 2 * n;
  return hn::PromoteTo(simd::Floats(),
                       hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
}
template <InWords Block>
HWY_INLINE Vec offsets_of(const std::byte* planes, std::size_t outputs, std::size_t n, Vec scales) {
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const std::byte* from = planes + (LayoutOf<Block>::value.scale_at + 2) * outputs + n;
  const auto zero =
      hn::PromoteTo(simd::Words(), hn::LoadU(narrow, reinterpret_cast<const std::uint8_t*>(from)));
  return hn::Mul(scales, hn::ConvertTo(simd::Floats(), zero));
}

/// Elements [first, first + count) of one block each of `lanes` outputs from n on.
/// \shape values (count, outputs)
template <InWords Block>
void decode(const std::byte* planes, std::size_t outputs, std::size_t n, std::size_t first,
            std::size_t count, float* values) {
  constexpr Layout at = LayoutOf<Block>::value;
  constexpr std::size_t run = code_bytes<Block>;
  const Vec scales = scales_of<Block>(planes, outputs, n);
  const Vec offsets =
      at.has_zero ? offsets_of<Block>(planes, outputs, n, scales) : hn::Zero(simd::Floats());
  const std::byte* codes = planes + at.codes_at * outputs + 4 * n;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t element = first + i, byte = element % run;
    simd::WordVec word;
    std::memcpy(&word, codes + byte / 4 * 4 * outputs, simd::lanes * sizeof(std::int32_t));
    const auto shift = static_cast<int>(byte % 4 * 8 + element / run * 4);
    const auto code =
        hn::And(hn::ShiftRightSame(word, shift), hn::Set(simd::Words(), (1 << at.bits) - 1));
    Vec x;
    if constexpr (at.has_zero) {
      x = hn::MulSub(hn::ConvertTo(simd::Floats(), code), scales, offsets);
    } else {
      const auto number = hn::Sub(code, hn::Set(simd::Words(), middle<Block>));
      x = hn::Mul(scales, hn::ConvertTo(simd::Floats(), number));
    }
    simd::store(x, values + i * outputs + n);
  }
}

/// A row of inputs as whole numbers: of each block digits, then what follows here.
template <std::size_t Digits>
struct RowTail {
  float step;                  // input = step * number
  float total;                 // of the inputs
  std::int32_t start[Digits];  // what digits' sums start from: codes count from the middle one
};
template <InWords Block, std::size_t Digits>
inline constexpr std::size_t record_bytes = (Digits * Block::size + sizeof(RowTail<Digits>) + 15) /
                                            16 * 16;

template <InWords Block, std::size_t Digits>
[[nodiscard]] constexpr std::size_t row_bytes(std::size_t blocks) {
  return (blocks * record_bytes<Block, Digits> + 63) / 64 * 64;
}

/// \shape x (inputs); row (blocks, record_bytes)
template <InWords Block, std::size_t Digits>
void pack_row(const float* x, std::size_t inputs, std::byte* row) {
  constexpr std::size_t n = Block::size;
  float padded[n];
  for (std::size_t k = 0; k < inputs; k += n, row += record_bytes<Block, Digits>) {
    const float* from = x + k;
    if (inputs - k < n) {
      std::copy_n(from, inputs - k, padded);
      std::fill(padded + (inputs - k), padded + n, 0.0f);
      from = padded;
    }
    RowTail<Digits> tail;
    std::int32_t digits[Digits];
    tail.step = simd::to_digits<Digits>(from, n, simd::largest_magnitude(from, n),
                                        reinterpret_cast<std::int8_t*>(row), n, digits);
    float total = 0;
    for (std::size_t d = Digits; d-- > 0;) {
      total = total * 256 + static_cast<float>(digits[d]);
      tail.start[d] = LayoutOf<Block>::value.has_zero ? 0 : -middle<Block> * digits[d];
    }
    tail.total = total * tail.step;
    std::memcpy(row + Digits * n, &tail, sizeof tail);
  }
}

// Lines of a stream are fetched so far ahead.
inline constexpr std::size_t prefetch_bytes = 4096;
// Outputs that pass together, and rows whose sums are kept at once.
inline constexpr std::size_t columns = simd::tile_width, most_sums = 96;

/// y += rows W^T for Rows rows and Vectors vectors of outputs from n on, over `blocks` blocks.
/// \shape planes (blocks, Block::bytes, outputs); rows (Rows, row_bytes); y (Rows, columns)
template <InWords Block, std::size_t Digits, std::size_t Rows, std::size_t Vectors>
HWY_NOINLINE void multiply(const std::byte* planes, std::size_t outputs, std::size_t n,
                           std::size_t blocks, const std::byte* rows, std::size_t row_bytes,
                           float* y, simd::LinesAhead& lines_ahead) {
  using namespace simd;
  constexpr Layout at = LayoutOf<Block>::value;
  constexpr std::size_t digits_bytes = Digits * Block::size, run = code_bytes<Block>;
  LinesAhead ahead = lines_ahead;
  // Number i of a row's RowTail, in all lanes: read one by one they need no place on the stack.
  const auto tail = [&](std::size_t r, std::size_t i) __attribute__((always_inline)) {
    return hn::Set(Words(),
                   blockwise::get<std::int32_t>(rows + r * row_bytes + digits_bytes + 4 * i));
  };
  for (std::size_t b = 0; b < blocks;
       ++b, planes += Block::bytes * outputs, rows += record_bytes<Block, Digits>) {
    if constexpr (Rows == 1) {  // scales, and what else lies beside the codes
      const std::byte* beside = planes + at.scale_at * outputs + prefetch_bytes;
      constexpr std::size_t each = Block::bytes - run;
      for (std::size_t i = 0; i < each * outputs; i += 64) fetch_ahead(beside + i);
    }
    WordVec sums[Rows * Digits * Vectors];
    unrolled<Rows * Digits>([&](auto i) __attribute__((always_inline)) {
      const WordVec start = tail(i / Digits, 2 + i % Digits);
      unrolled<Vectors>([&](auto v)
                            __attribute__((always_inline)) { sums[i * Vectors + v] = start; });
    });
    const std::byte* codes = planes + at.codes_at * outputs + 4 * n;
    const auto add = [&](const WordVec(&code)[Vectors], std::size_t byte)
        __attribute__((always_inline)) {
      unrolled<Rows * Digits>([&](auto i) __attribute__((always_inline)) {
        std::int32_t word;
        std::memcpy(&word, rows + i / Digits * row_bytes + i % Digits * Block::size + byte,
                    sizeof word);
        const WordVec input = hn::Set(Words(), word);
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
          sums[i * Vectors + v] = dot_bytes(sums[i * Vectors + v], code[v], input);
        });
      });
    };
    for (std::size_t byte = 0; byte < run; byte += 4) {
      WordVec word[Vectors];
      if constexpr (Rows > 1) ahead.fetch();
      HWY_FENCE;  // a step's lines are fetched with it, not with all others of the block: a sixth faster
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const std::byte* from = codes + byte * outputs + v * lanes * 4;
        if constexpr (Rows == 1) fetch_ahead(from + prefetch_bytes);
        word[v] = hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(from));
      });
      if constexpr (at.bits == 8) {
        add(word, byte);
      } else {
        const WordVec half = hn::Set(Words(), 0x0f0f0f0f);
        WordVec part[Vectors];
        unrolled<Vectors>([&](auto v) { part[v] = hn::And(word[v], half); });
        add(part, byte);
        unrolled<Vectors>([&](auto v) { part[v] = hn::And(hn::ShiftRight<4>(word[v]), half); });
        add(part, run + byte);
      }
    }
    Vec scales[Vectors], offsets[Vectors];
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      scales[v] = scales_of<Block>(planes, outputs, n + v * lanes);
      if constexpr (at.has_zero) {
        offsets[v] = offsets_of<Block>(planes, outputs, n + v * lanes, scales[v]);
      }
    });
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const Vec step = hn::BitCast(Floats(), tail(r, 0));
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const WordVec* digits = sums + r * Digits * Vectors + v;
        Vec x = hn::ConvertTo(Floats(), digits[(Digits - 1) * Vectors]);
        unrolled<Digits - 1>([&](auto d) __attribute__((always_inline)) {
          x = hn::MulAdd(x, set(256.0f),
                         hn::ConvertTo(Floats(), digits[(Digits - 2 - d) * Vectors]));
        });
        float* to = y + r * columns + v * lanes;
        Vec sum = hn::MulAdd(hn::Mul(x, step), scales[v], load(to));
        if constexpr (at.has_zero)
          sum = hn::NegMulAdd(offsets[v], hn::BitCast(Floats(), tail(r, 1)), sum);
        store(sum, to);
      });
    });
  }
  lines_ahead = ahead;
}

/// y += rows W^T for the outputs from n on that pass together, and at most most_sums rows.
template <InWords Block, std::size_t Digits>
void add_columns(const std::byte* panel, std::size_t outputs, std::size_t n, std::size_t blocks,
                 const std::byte* rows, std::size_t count, float* y, std::size_t y_stride) {
  // As many rows as registers hold sums of: with one digit, parting codes of 4 bits is shared by more.
  constexpr std::size_t together = Digits == 1 ? 8 : 4;
  constexpr std::size_t some = std::max<std::size_t>(1, 256 / Block::size);
  constexpr std::size_t record = record_bytes<Block, Digits>;
  const std::size_t block_bytes = Block::bytes * outputs, here_bytes = Block::bytes * columns;
  const std::size_t row_bytes = words::row_bytes<Block, Digits>(blocks);
  // Rows of y lie so that they would take each other's place in the first-level cache.
  alignas(64) float sums[most_sums * columns];
  for (std::size_t r = 0; r < count; ++r) {
    std::copy_n(y + r * y_stride, columns, sums + r * columns);
  }
  // Some blocks at a time for all rows, while what the next ones need is fetched; one row reads all of
  // them once anyway.
  const std::size_t step = count > 1 ? some : blocks;
  for (std::size_t b = 0; b < blocks; b += step) {
    const std::size_t here = std::min(step, blocks - b);
    const std::byte* planes = panel + b * block_bytes;
    // Passes of two vectors, and the steps of one.
    const std::size_t passes =
        (count / together + (count % together != 0)) * columns / (2 * simd::lanes);
    const std::size_t steps = here * code_bytes<Block> / 4;
    simd::LinesAhead ahead{planes + here * block_bytes + n * here * Block::bytes,
                           (here * here_bytes / 64 + passes * steps - 1) / (passes * steps)};
    std::size_t r = 0;
    const auto add = [&](auto tile, auto vectors) {
      for (; r + tile <= count; r += tile) {
        for (std::size_t v = 0; v < columns; v += vectors * simd::lanes) {
          multiply<Block, Digits, tile, vectors>(planes, outputs, n + v, here,
                                                 rows + r * row_bytes + b * record, row_bytes,
                                                 sums + r * columns + v, ahead);
        }
      }
    };
    const std::integral_constant<std::size_t, 2> two;
    add(std::integral_constant<std::size_t, together>{}, two);
    if constexpr (together > 4) add(std::integral_constant<std::size_t, 4>{}, two);
    add(two, two);
    add(std::integral_constant<std::size_t, 1>{},
        std::integral_constant<std::size_t, simd::tile_vectors>{});
  }
  for (std::size_t r = 0; r < count; ++r) {
    std::copy_n(sums + r * columns, columns, y + r * y_stride);
  }
}

/// y += rows W^T: an element's bits depend on its own row and output alone.
/// \shape panel (blocks, Block::bytes, outputs); rows (count, row_bytes); y (count, outputs)
/// \pre outputs is a multiple of `columns`
template <InWords Block, std::size_t Digits>
void add_products(const std::byte* panel, std::size_t outputs, std::size_t blocks,
                  const std::byte* rows, std::size_t count, float* y, std::size_t y_stride) {
  const std::size_t row_bytes = words::row_bytes<Block, Digits>(blocks);
  for (std::size_t n = 0; n < outputs; n += columns) {
    for (std::size_t r = 0; r < count; r += most_sums) {
      add_columns<Block, Digits>(panel, outputs, n, blocks, rows + r * row_bytes,
                                 std::min(most_sums, count - r), y + r * y_stride + n, y_stride);
    }
  }
}

}  // namespace quire::weight_format::words
