#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <quire/attention/code_tile.hpp>
#include <quire/attention/rows_ahead.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/digits.hpp>
#include <quire/core/simd.hpp>

/// Attention over keys and values that are whole numbers of 4 or 8 bits, without turning them into fp32.
///
/// The other factor, a query or a tile's weights, becomes whole numbers of 16 bits, written as two signed
/// bytes; products of bytes are summed exactly and put together in fp32. That rounds to a 65,000th of the
/// largest element: queries of a decoder in bf16 are a hundred times as coarse, and keys of 8 bits 256
/// times. Results differ from those of what load() reads by less than a fiftieth of what the format
/// changes (tests), a hundredth and less as a rule; a third byte would make it 1e-5 and take a third longer.
namespace quire::attention::detail {

using simd::largest_magnitude;

/// Signed bytes of a query's element, and of a weight's.
inline constexpr std::size_t code_digits = 2;
inline constexpr std::size_t code_rows = 4;  // rows that one register tile serves

/// The left factor of a product. \shape a (rows, code_digits, words) words of signed bytes
struct DigitRows {
  const std::int8_t* a;
  std::size_t row, digit;  // bytes from one to the next
};

/// Sums of products of bytes: of `Rows` rows of digits with `Vectors` vectors of columns.
template <std::size_t Rows, std::size_t Vectors>
class CodeSums {
 public:
  HWY_INLINE explicit CodeSums(const DigitRows& left) : left_(left) {
    simd::unrolled<Rows * code_digits * Vectors>([&](auto i) __attribute__((always_inline)) {
      sums_[i] = simd::hn::Zero(simd::Words());
    });
  }
  /// What each digit's sum starts from. \shape start (Rows, code_digits)
  HWY_INLINE CodeSums(const DigitRows& left, const std::int32_t* start) : left_(left) {
    simd::unrolled<Rows * code_digits>([&](auto i) __attribute__((always_inline)) {
      simd::unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        sums_[i * Vectors + v] = simd::hn::Set(simd::Words(), start[i]);
      });
    });
  }
  /// Adds word k of all rows times right. \shape right (Vectors) words of unsigned bytes
  HWY_INLINE void add(std::size_t k, const simd::WordVec* right) {
    using namespace simd;
    unrolled<Rows * code_digits>([&](auto i) __attribute__((always_inline)) {
      constexpr std::size_t r = decltype(i)::value / code_digits;
      constexpr std::size_t d = decltype(i)::value % code_digits;
      std::int32_t word;
      std::memcpy(&word, left_.a + r * left_.row + d * left_.digit + 4 * k, sizeof word);
      const WordVec left = hn::Set(Words(), word);
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        sums_[i * Vectors + v] = dot_bytes(sums_[i * Vectors + v], right[v], left);
      });
    });
  }
  /// Calls use(r, v, sum as floats), r and v as constants.
  template <class Use>
  HWY_INLINE void finish(const Use& use) const {
    using namespace simd;
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const auto digit = [&](auto d) __attribute__((always_inline)) {
          return hn::ConvertTo(Floats(), sums_[(r * code_digits + d) * Vectors + v]);
        };
        Vec x = digit(std::integral_constant<std::size_t, code_digits - 1>());
        unrolled<code_digits - 1>([&](auto i) __attribute__((always_inline)) {
          x = hn::MulAdd(x, set(256.0f),
                         digit(std::integral_constant<std::size_t, code_digits - 2 - i>()));
        });
        use(r, v, x);
      });
    });
  }

 private:
  simd::WordVec sums_[Rows * code_digits * Vectors];
  const DigitRows left_;
};

HWY_INLINE simd::WordVec load_words(const std::uint32_t* p) {
  using namespace simd;
  return hn::BitCast(Words(), hn::LoadU(hn::RebindToUnsigned<Words>(), p));
}
/// Lower and upper halves of all bytes.
HWY_INLINE simd::WordVec lower_codes(simd::WordVec x) {
  using namespace simd;
  return hn::And(x, hn::Set(Words(), 0x0f0f0f0f));
}
HWY_INLINE simd::WordVec upper_codes(simd::WordVec x) {
  using namespace simd;
  const hn::RebindToUnsigned<Words> bits;
  return lower_codes(hn::BitCast(Words(), hn::ShiftRight<4>(hn::BitCast(bits, x))));
}

/// Scores of `Vectors` vectors of tokens. \shape b (Vectors): a group's words of theirs, `steps` of them,
/// each of two where `halves`
template <std::size_t Rows, std::size_t Vectors, bool halves, class Use>
HWY_INLINE void multiply_key_codes(std::size_t steps, const std::uint32_t* const* b,
                                   const DigitRows& left, const std::int32_t* start,
                                   std::size_t lines, RowsAhead& ahead, const Use& use) {
  using namespace simd;
  CodeSums<Rows, Vectors> sums(left, start);
  RowsAhead next = ahead;
  for (std::size_t k = 0; k < steps; ++k) {
    for (std::size_t i = 0; i < lines; ++i) next.fetch();
    WordVec both[Vectors], right[Vectors];
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      both[v] = load_words(b[v] + k * step_words);
      right[v] = halves ? lower_codes(both[v]) : both[v];
    });
    sums.add(k, right);
    if constexpr (halves) {
      unrolled<Vectors>([&](auto v)
                            __attribute__((always_inline)) { right[v] = upper_codes(both[v]); });
      sums.add(steps + k, right);
    }
  }
  ahead = next;
  sums.finish(use);
}

/// Weighted sums of two vectors of channels, or one. from: their words within a run; where `halves`, the
/// second vector is the upper half of the first one's bytes.
template <std::size_t Rows, std::size_t Vectors, bool halves, class Use>
HWY_INLINE void multiply_value_codes(const CodeRuns& values, const std::size_t (&from)[2],
                                     const DigitRows& left, std::size_t lines, RowsAhead& ahead,
                                     const Use& use) {
  using namespace simd;
  CodeSums<Rows, Vectors> sums(left);
  RowsAhead next = ahead;
  for (std::size_t r = values.first; r < values.last; ++r) {
    for (std::size_t k = 0; k < run_tokens / 4; ++k) {
      for (std::size_t i = 0; i < lines; ++i) next.fetch();
      WordVec right[Vectors];
      right[0] = load_words(values.runs[r] + from[0] + k * step_words);
      if constexpr (halves) {
        right[1] = upper_codes(right[0]);
        right[0] = lower_codes(right[0]);
      } else if constexpr (Vectors == 2) {
        right[1] = load_words(values.runs[r] + from[1] + k * step_words);
      }
      sums.add(r * (run_tokens / 4) + k, right);
    }
  }
  ahead = next;
  sums.finish(use);
}

/// The queries of a task as whole numbers.
class CodeQueries {
 public:
  /// memory: rows * (head_dim + 16) floats
  CodeQueries(std::size_t head_dim, std::size_t group, std::size_t rows, float* memory)
      : head_dim_(head_dim),
        groups_(head_dim / group),
        rows_(rows),
        digits_(reinterpret_cast<std::int8_t*>(memory)),
        totals_(memory + rows * code_digits * head_dim / 4),
        starts_(reinterpret_cast<std::int32_t*>(totals_ + rows * groups_)),
        steps_(reinterpret_cast<float*>(starts_ + rows * code_digits * groups_)) {}

  /// \shape q (head_dim)
  void set(std::size_t r, const float* q, std::int32_t excess) {
    std::int32_t all[code_digits];
    steps_[r] = simd::to_digits<code_digits>(q, head_dim_, largest_magnitude(q, head_dim_),
                                             digits(r), head_dim_, all);
    const std::size_t group = head_dim_ / groups_;
    for (std::size_t g = 0; g < groups_; ++g) {
      float total = 0;
      for (std::size_t d = code_digits; d-- > 0;) {
        std::int32_t part = 0;
        for (std::size_t i = 0; i < group; ++i) part += digits(r)[d * head_dim_ + g * group + i];
        start(r, g)[d] = -excess * part;
        total = total * 256 + static_cast<float>(part);
      }
      totals_[r * groups_ + g] = total;
    }
  }

  /// scores (rows, tile_tokens) of rows [0, rows) for the tokens of all runs
  void multiply(const CodeTile<true>& keys, std::size_t rows, RowsAhead& ahead,
                float* scores) const {
    if (keys.in_halves()) {
      multiply_as<true>(keys, rows, ahead, scores);
    } else {
      multiply_as<false>(keys, rows, ahead, scores);
    }
  }

 private:
  [[nodiscard]] std::int8_t* digits(std::size_t r) const {
    return digits_ + r * code_digits * head_dim_;
  }
  // (group, row, digit), so that a tile's rows lie together
  [[nodiscard]] std::int32_t* start(std::size_t r, std::size_t g) const {
    return starts_ + (g * rows_ + r) * code_digits;
  }

  template <bool halves>
  void multiply_as(const CodeTile<true>& keys, std::size_t rows, RowsAhead& ahead,
                   float* scores) const {
    std::size_t r = 0;
    for (; r + code_rows <= rows; r += code_rows) {
      multiply_rows<code_rows, halves>(keys, r, ahead, scores);
    }
    for (; r < rows; ++r) multiply_rows<1, halves>(keys, r, ahead, scores);
  }
  template <std::size_t Rows, bool halves>
  void multiply_rows(const CodeTile<true>& keys, std::size_t r, RowsAhead& ahead,
                     float* scores) const {
    std::size_t t = keys.runs().first * run_tokens;
    const std::size_t end = keys.runs().last * run_tokens;
    for (; t + 2 * simd::lanes <= end; t += 2 * simd::lanes) {
      multiply_tokens<Rows, 2, halves>(keys, r, t, ahead, scores);
    }
    for (; t < end; t += simd::lanes) multiply_tokens<Rows, 1, halves>(keys, r, t, ahead, scores);
  }
  template <std::size_t Rows, std::size_t Vectors, bool halves>
  HWY_INLINE void multiply_tokens(const CodeTile<true>& keys, std::size_t r, std::size_t first,
                                  RowsAhead& ahead, float* scores) const {
    using namespace simd;
    Vec sums[Rows * Vectors];  // in steps of the queries
    unrolled<Rows * Vectors>([&](auto i)
                                 __attribute__((always_inline)) { sums[i] = hn::Zero(Floats()); });
    const std::uint32_t* words[Vectors];
    for (std::size_t v = 0; v < Vectors; ++v) {
      const std::size_t t = first + v * lanes;
      words[v] = keys.runs().runs[t / run_tokens] + t % run_tokens;
    }
    const bool has_offsets = keys.has_offsets();
    for (std::size_t g = 0; g < groups_; ++g) {
      const float* const scales = keys.scales(g) + first;
      const float* const offsets = keys.offsets(g) + first;
      multiply_key_codes<Rows, Vectors, halves>(
          keys.group_words() / step_words, words,
          {digits(r) + g * keys.group(), code_digits * head_dim_, head_dim_}, start(r, g),
          keys.lines_ahead(Vectors),
          ahead, [&](auto i, auto v, Vec product) __attribute__((always_inline)) {
            Vec& sum = sums[i * Vectors + v];
            if (has_offsets) {
              const Vec total = simd::set(totals_[(r + i) * groups_ + g]);
              sum = hn::MulAdd(load(offsets + v * lanes), total, sum);
            }
            sum = hn::MulAdd(product, load(scales + v * lanes), sum);
          });
      for (std::size_t v = 0; v < Vectors; ++v) words[v] += keys.group_words();
    }
    unrolled<Rows>([&](auto i) __attribute__((always_inline)) {
      const Vec step = simd::set(steps_[r + i]);
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        store(hn::Mul(sums[i * Vectors + v], step),
              scores + (r + i) * tile_tokens + first + v * lanes);
      });
    });
  }

  std::size_t head_dim_, groups_, rows_;
  std::int8_t* digits_;
  float* totals_;  // a group's sum of a query, in steps
  std::int32_t* starts_;
  float* steps_;
};

/// Weights times a group's scales, as digits. Four rows at a time, and their sums in one order for any
/// number of them.
template <std::size_t Rows>
struct ScaledWeights {
  static_assert(Rows <= 4);
  alignas(64) float scaled[Rows * tile_tokens];
  alignas(64) std::int8_t digits[Rows * code_digits * tile_tokens];
  float largest[4], steps[4], offsets[4];  // offsets: what is added to all channels of the group

  /// \shape weights (Rows, tile_tokens), zero where a token is not seen; tokens: a multiple of 16
  HWY_INLINE void scale(const CodeTile<false>& values, std::size_t g, const float* weights,
                        std::size_t tokens) {
    using namespace simd;
    Vec most[4], offset[4];  // most: of magnitudes as whole numbers, as largest_magnitude() has it
    unrolled<4>([&](auto r)
                    __attribute__((always_inline)) { most[r] = offset[r] = hn::Zero(Floats()); });
    const auto times = [&](auto has_offsets) __attribute__((always_inline)) {
      for (std::size_t t = 0; t < tokens; t += lanes) {
        const Vec scales = load(values.scales(g) + t);
        Vec beside = hn::Zero(Floats());
        if constexpr (has_offsets) beside = load(values.offsets(g) + t);
        unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
          const Vec w = load(weights + r * tile_tokens + t);
          // Not seen: the scale may be that of nobody's token.
          const auto unseen = hn::Eq(w, hn::Zero(Floats()));
          const Vec x = hn::IfThenZeroElse(unseen, hn::Mul(w, scales));
          store(x, scaled + r * tile_tokens + t);
          most[r] = larger(most[r], hn::Abs(x));
          if constexpr (has_offsets) {
            offset[r] = hn::Add(offset[r], hn::IfThenZeroElse(unseen, hn::Mul(w, beside)));
          }
        });
      }
    };
    if (values.has_offsets()) {
      times(std::true_type());
      fold_lanes(
          offset, [](Vec a, Vec b) { return hn::Add(a, b); }, offsets);
    } else {
      times(std::false_type());
      std::fill_n(offsets, 4, 0.0f);
    }
    fold_lanes(most, larger, largest);
  }
  HWY_INLINE void write(std::int32_t excess, std::size_t tokens) {
    using namespace simd;
    Vec totals[4];
    unrolled<4>([&](auto r) __attribute__((always_inline)) { totals[r] = hn::Zero(Floats()); });
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const DigitScale by = digit_scale<code_digits>(largest[r]);
      steps[r] = by.step;
      const WordVec sums =
          write_digits<code_digits>(scaled + r * tile_tokens, tokens, by,
                                    digits + r * code_digits * tile_tokens, tile_tokens);
      totals[r] = hn::BitCast(Floats(), sums);
    });
    if (excess == 0) return;
    float total[4];
    fold_lanes(
        totals, [](Vec a, Vec b) { return of_words(hn::Add(words_of(a), words_of(b))); }, total);
    for (std::size_t r = 0; r < Rows; ++r) {
      const auto numbers = static_cast<float>(std::bit_cast<std::int32_t>(total[r]) * excess);
      offsets[r] -= numbers * steps[r];
    }
  }

 private:
  static simd::WordVec words_of(simd::Vec x) { return simd::hn::BitCast(simd::Words(), x); }
  static simd::Vec of_words(simd::WordVec x) { return simd::hn::BitCast(simd::Floats(), x); }
  static constexpr auto larger = [](simd::Vec a, simd::Vec b) {
    return of_words(simd::hn::Max(words_of(a), words_of(b)));
  };
};

/// The same place, which g++ reads only here: read before the product's loop, its floats would take the
/// registers of the loop's operands, and 8-bit values half as long again.
template <class T>
HWY_INLINE const T* reread(const T* from) {
  asm volatile("" : "+r"(from));
  return from;
}

/// Adds a group's channels. \shape sums (Rows, stride)
template <std::size_t Rows>
HWY_INLINE void add_code_group(const CodeTile<false>& values, std::size_t g,
                               const ScaledWeights<Rows>& weights, RowsAhead& ahead, float* sums,
                               std::size_t stride) {
  using namespace simd;
  const DigitRows left{weights.digits, code_digits * tile_tokens, tile_tokens};
  float* to = sums + g * values.group();
  const auto add = [&](auto vectors, auto halves, std::size_t c) __attribute__((always_inline)) {
    constexpr std::size_t read = decltype(halves)::value ? 1 : decltype(vectors)::value;
    const auto word = [&](std::size_t column) {
      return g * values.group_words() + column / 16 * 4 * step_words + column % 16;
    };
    const std::size_t apart = decltype(halves)::value ? values.group() / 2 : lanes;
    multiply_value_codes<Rows, decltype(vectors)::value, decltype(halves)::value>(
        values.runs(), {word(c), word(c + lanes)}, left, values.lines_ahead(read),
        ahead, [&](auto r, auto v, Vec product) __attribute__((always_inline)) {
          float* at = to + r * stride + c + v * apart;
          const ScaledWeights<Rows>* by = reread(&weights);
          const Vec before = hn::Add(load(at), set(by->offsets[r]));
          store(hn::MulAdd(product, set(by->steps[r]), before), at);
        });
  };
  constexpr std::integral_constant<std::size_t, 1> one;
  constexpr std::integral_constant<std::size_t, 2> two;
  std::size_t c = 0;
  if (values.in_halves()) {
    for (; c < values.group() / 2; c += lanes) add(two, std::true_type(), c);
  } else {
    for (; c + 2 * lanes <= values.group(); c += 2 * lanes) add(two, std::false_type(), c);
    for (; c < values.group(); c += lanes) add(one, std::false_type(), c);
  }
}

/// sums += weights * values. \shape weights (rows, tile_tokens), zero where a token is not seen; sums
/// (rows, stride); tokens: a multiple of 16
template <std::size_t Rows>
void add_code_values(const CodeTile<false>& values, const float* weights, std::size_t tokens,
                     RowsAhead& ahead, float* sums, std::size_t stride) {
  // Step by step for several groups, so that they do not wait for each other's largest numbers and sums.
  constexpr std::size_t together = 4;
  ScaledWeights<Rows> scaled[together];
  for (std::size_t first = 0; first < values.groups(); first += together) {
    const std::size_t count = std::min(together, values.groups() - first);
    for (std::size_t i = 0; i < count; ++i) scaled[i].scale(values, first + i, weights, tokens);
    for (std::size_t i = 0; i < count; ++i) scaled[i].write(values.excess(), tokens);
    for (std::size_t i = 0; i < count; ++i) {
      add_code_group(values, first + i, scaled[i], ahead, sums, stride);
    }
  }
}

inline void add_code_values(const CodeTile<false>& values, const float* weights, std::size_t rows,
                            std::size_t tokens, RowsAhead& ahead, float* sums, std::size_t stride) {
  std::size_t r = 0;
  for (; r + code_rows <= rows; r += code_rows) {
    add_code_values<code_rows>(values, weights + r * tile_tokens, tokens, ahead, sums + r * stride,
                               stride);
  }
  for (; r < rows; ++r) {
    add_code_values<1>(values, weights + r * tile_tokens, tokens, ahead, sums + r * stride, stride);
  }
}

}  // namespace quire::attention::detail
