// mechanism: products of blocks of whole numbers of many outputs, as they lie
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <quire/core/byte_products.hpp>
#include <quire/core/digits.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/word_layout.hpp>

/// Rows of inputs become whole numbers of so many bytes, their digits, with a scale for each part of a
/// block: three hold 23 bits (core/digits.hpp), and a part's sum is rounded as a sum of fp32 would be when
/// it is put together; one is activations rounded to 8 bits. Sums of whole numbers are exact.
namespace quire::weight_format::words {

/// A row of inputs as whole numbers: of each part of a block digits, then what follows here.
template <std::size_t Digits>
struct RowTail {
  float step;                  // input = step * number
  float total;                 // of the inputs
  std::int32_t start[Digits];  // what digits' sums start from: codes count from the middle one
};
template <InWords Block, std::size_t Digits>
inline constexpr std::size_t record_bytes = (Digits * part_size<Block> + sizeof(RowTail<Digits>) +
                                             15) /
                                            16 * 16;

template <InWords Block, std::size_t Digits>
[[nodiscard]] constexpr std::size_t row_bytes(std::size_t blocks) {
  return (blocks * parts<Block> * record_bytes<Block, Digits> + 63) / 64 * 64;
}

/// \shape x (inputs); row (blocks, parts, record_bytes)
template <InWords Block, std::size_t Digits>
void pack_row(const float* x, std::size_t inputs, std::byte* row) {
  constexpr std::size_t n = part_size<Block>;
  const std::size_t all = (inputs + Block::size - 1) / Block::size * Block::size;
  float padded[n];
  for (std::size_t k = 0; k < all; k += n, row += record_bytes<Block, Digits>) {
    const float* from = padded;
    if (k + n <= inputs) {
      from = x + k;
    } else {
      const std::size_t some = inputs - std::min(k, inputs);
      std::copy_n(x + (inputs - some), some, padded);
      std::fill(padded + some, padded + n, 0.0f);
    }
    RowTail<Digits> tail;
    std::int32_t digits[Digits];
    tail.step = simd::to_digits<Digits>(from, n, simd::largest_magnitude(from, n),
                                        reinterpret_cast<std::int8_t*>(row), n, digits);
    float total = 0;
    for (std::size_t d = Digits; d-- > 0;) {
      total = total * 256 + static_cast<float>(digits[d]);
      tail.start[d] = has_zero<Block> ? 0 : -middle<Block> * digits[d];
    }
    tail.total = total * tail.step;
    std::memcpy(row + Digits * n, &tail, sizeof tail);
  }
}

/// Whether lines of a stream are fetched ahead for one row. Four bits are unpacked and meet all digits:
/// that is no little work.
template <class Block, std::size_t Digits>
[[nodiscard]] constexpr bool fetches_stream() {
  if constexpr (simd::fetches_streams || InParts<Block>) {
    return true;
  } else {
    return Digits > 1 && LayoutOf<Block>::value.bits < 8;
  }
}
// Outputs that pass together, and rows whose sums are kept at once.
inline constexpr std::size_t columns = simd::tile_width, most_sums = 96;

/// y += what the digits' sums of a part make. \shape sums (Digits, Vectors)
template <InWords Block, std::size_t Digits, std::size_t Vectors>
HWY_INLINE void add_part(const simd::WordVec* sums, simd::WordVec step, simd::WordVec total,
                         const Vec (&scales)[Vectors], const Vec (&offsets)[Vectors], float* y) {
  using namespace simd;
  unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
    Vec x = hn::ConvertTo(Floats(), sums[(Digits - 1) * Vectors + v]);
    unrolled<Digits - 1>([&](auto d) __attribute__((always_inline)) {
      x = hn::MulAdd(x, set(256.0f), hn::ConvertTo(Floats(), sums[(Digits - 2 - d) * Vectors + v]));
    });
    float* to = y + v * lanes;
    Vec sum = hn::MulAdd(hn::Mul(x, hn::BitCast(Floats(), step)), scales[v], load(to));
    if constexpr (has_zero<Block>) {
      sum = hn::NegMulAdd(offsets[v], hn::BitCast(Floats(), total), sum);
    }
    store(sum, to);
  });
}

/// y += rows W^T for Rows rows and Vectors vectors of outputs from n on, over `blocks` blocks.
/// \shape planes (blocks, Block::bytes, outputs); rows (Rows, row_bytes); y (Rows, columns)
template <InWords Block, std::size_t Digits, std::size_t Rows, std::size_t Vectors>
HWY_NOINLINE void multiply(const std::byte* planes, std::size_t outputs, std::size_t n,
                           std::size_t blocks, const std::byte* rows, std::size_t row_bytes,
                           float* y, simd::LinesAhead& lines_ahead) {
  using namespace simd;
  constexpr std::size_t size = part_size<Block>, digits_bytes = Digits * size;
  LinesAhead ahead = lines_ahead;
  // Number i of a row's RowTail, in all lanes: read one by one they need no place on the stack.
  const auto tail = [&](std::size_t r, std::size_t i) __attribute__((always_inline)) {
    return hn::Set(Words(),
                   blockwise::get<std::int32_t>(rows + r * row_bytes + digits_bytes + 4 * i));
  };
  for (std::size_t b = 0; b < blocks; ++b, planes += Block::bytes * outputs) {
    const std::byte* streamed = planes + Block::bytes * outputs;  // the next block, of one row
    for (std::size_t part = 0; part < parts<Block>; ++part, rows += record_bytes<Block, Digits>) {
      if constexpr (Rows == 1 && !InParts<Block> && fetches_stream<Block, Digits>()) {
        // Scales, and what else lies beside the codes.
        const std::byte* beside =
            planes + LayoutOf<Block>::value.scale_at * outputs + unpacking_reach;
        constexpr std::size_t each = Block::bytes - code_bytes<Block>;
        for (std::size_t i = 0; i < each * outputs; i += 64) fetch_ahead(beside + i);
      }
      WordVec sums[Rows * Digits * Vectors];
      unrolled<Rows * Digits>([&](auto i) __attribute__((always_inline)) {
        const WordVec start = tail(i / Digits, 2 + i % Digits);
        unrolled<Vectors>([&](auto v)
                              __attribute__((always_inline)) { sums[i * Vectors + v] = start; });
      });
      const auto add = [&](const WordVec(&code)[Vectors], std::size_t byte)
          __attribute__((always_inline)) {
        unrolled<Rows * Digits>([&](auto i) __attribute__((always_inline)) {
          std::int32_t word;
          std::memcpy(&word, rows + i / Digits * row_bytes + i % Digits * size + byte, sizeof word);
          const WordVec input = hn::Set(Words(), word);
          unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
            sums[i * Vectors + v] = dot_bytes(sums[i * Vectors + v], code[v], input);
          });
        });
      };
      if constexpr (InParts<Block>) {
        constexpr std::size_t steps = Block::size / 4;
        for (std::size_t w = 0; w < size / 4; ++w) {
          WordVec code[Vectors];
          if constexpr (Rows > 1) {
            ahead.fetch();
          } else {
            const std::byte* const until =
                planes + Block::bytes * outputs * (steps + part * (size / 4) + w + 1) / steps;
            for (; streamed < until; streamed += 64) fetch_ahead(streamed);
          }
          HWY_FENCE;
          unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
            code[v] = PartsOf<Block>::code(planes, outputs, n + v * lanes, part, w);
          });
          add(code, 4 * w);
        }
      } else {
        constexpr Layout at = LayoutOf<Block>::value;
        constexpr std::size_t run = code_bytes<Block>;
        const std::byte* codes = planes + at.codes_at * outputs + 4 * n;
        for (std::size_t byte = 0; byte < run; byte += 4) {
          WordVec word[Vectors];
          if constexpr (Rows > 1) ahead.fetch();
          HWY_FENCE;  // a step's lines are fetched with it, not with all others of the block: a sixth faster
          unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
            const std::byte* from = codes + byte * outputs + v * lanes * 4;
            if constexpr (Rows == 1 && fetches_stream<Block, Digits>()) {
              fetch_ahead(from + unpacking_reach);
            }
            word[v] = hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(from));
          });
          if constexpr (at.bits == 8) {
            add(word, byte);
          } else {
            const WordVec half = every_byte(15);
            WordVec part_of[Vectors];
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
              part_of[v] = numbers_of<Block>(hn::And(word[v], half));
            });
            add(part_of, byte);
            unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
              part_of[v] = numbers_of<Block>(hn::And(hn::ShiftRight<4>(word[v]), half));
            });
            add(part_of, run + byte);
          }
        }
      }
      Vec scales[Vectors], offsets[Vectors];
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        scales[v] = scales_of<Block>(planes, outputs, n + v * lanes, part);
        if constexpr (has_zero<Block>) {
          offsets[v] = offsets_of<Block>(planes, outputs, n + v * lanes, part, scales[v]);
        }
      });
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        add_part<Block, Digits, Vectors>(sums + r * Digits * Vectors, tail(r, 0), tail(r, 1),
                                         scales, offsets, y + r * columns);
      });
    }
  }
  lines_ahead = ahead;
}

/// A block of parts of `columns` outputs with codes of 8 bits: taking bits apart pays once for many rows.
template <InParts Block>
struct Widened {
  alignas(64) std::int32_t codes[Block::size / 4][columns];
  alignas(64) float scales[parts<Block>][columns], offsets[parts<Block>][columns];

  void take(const std::byte* planes, std::size_t outputs, std::size_t n) {
    constexpr std::size_t words = part_size<Block> / 4;
    for (std::size_t part = 0; part < parts<Block>; ++part) {
      for (std::size_t v = 0; v < columns; v += simd::lanes) {
        simd::store(PartsOf<Block>::scale(planes, outputs, n + v, part), scales[part] + v);
        if constexpr (has_zero<Block>) {
          simd::store(PartsOf<Block>::offset(planes, outputs, n + v, part), offsets[part] + v);
        }
        for (std::size_t w = 0; w < words; ++w) {
          hn::StoreU(PartsOf<Block>::code(planes, outputs, n + v, part, w), simd::Words(),
                     codes[part * words + w] + v);
        }
      }
    }
  }
};

/// multiply() of one such block, vectors of outputs from v on.
template <InParts Block, std::size_t Digits, std::size_t Rows, std::size_t Vectors>
HWY_NOINLINE void multiply_widened(const Widened<Block>& block, std::size_t v0,
                                   const std::byte* rows, std::size_t row_bytes, float* y,
                                   simd::LinesAhead& lines_ahead) {
  using namespace simd;
  constexpr std::size_t size = part_size<Block>, digits_bytes = Digits * size;
  LinesAhead ahead = lines_ahead;
  const auto number = [&](std::size_t r, std::size_t at) __attribute__((always_inline)) {
    return hn::Set(Words(), blockwise::get<std::int32_t>(rows + r * row_bytes + at));
  };
  for (std::size_t part = 0; part < parts<Block>; ++part, rows += record_bytes<Block, Digits>) {
    WordVec sums[Rows * Digits * Vectors];
    unrolled<Rows * Digits>([&](auto i) __attribute__((always_inline)) {
      const WordVec start = number(i / Digits, digits_bytes + 8 + 4 * (i % Digits));
      unrolled<Vectors>([&](auto v)
                            __attribute__((always_inline)) { sums[i * Vectors + v] = start; });
    });
    for (std::size_t w = 0; w < size / 4; ++w) {
      ahead.fetch();
      HWY_FENCE;
      WordVec code[Vectors];
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        code[v] = hn::LoadU(Words(), block.codes[part * (size / 4) + w] + v0 + v * lanes);
      });
      unrolled<Rows * Digits>([&](auto i) __attribute__((always_inline)) {
        const WordVec input = number(i / Digits, i % Digits * size + 4 * w);
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
          sums[i * Vectors + v] = dot_bytes(sums[i * Vectors + v], code[v], input);
        });
      });
    }
    Vec scales[Vectors], offsets[Vectors];
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      scales[v] = load(block.scales[part] + v0 + v * lanes);
      if constexpr (has_zero<Block>) offsets[v] = load(block.offsets[part] + v0 + v * lanes);
    });
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      add_part<Block, Digits, Vectors>(sums + r * Digits * Vectors, number(r, digits_bytes),
                                       number(r, digits_bytes + 4), scales, offsets,
                                       y + r * columns);
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
  constexpr std::size_t record = parts<Block> * record_bytes<Block, Digits>;
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
    const std::size_t steps = here * (InParts<Block> ? Block::size : code_bytes<Block>) / 4;
    simd::LinesAhead ahead{planes + here * block_bytes + n * here * Block::bytes,
                           (here * here_bytes / 64 + passes * steps - 1) / (passes * steps)};
    std::size_t r = 0;
    if constexpr (InParts<Block>) {
      if (count >= together) {
        Widened<Block> block;
        block.take(planes, outputs, n);
        for (; r + together <= count; r += together) {
          for (std::size_t v = 0; v < columns; v += 2 * simd::lanes) {
            multiply_widened<Block, Digits, together, 2>(block, v,
                                                         rows + r * row_bytes + b * record,
                                                         row_bytes, sums + r * columns + v, ahead);
          }
        }
      }
    }
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
    if constexpr (!InParts<Block>) add(std::integral_constant<std::size_t, together>{}, two);
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
