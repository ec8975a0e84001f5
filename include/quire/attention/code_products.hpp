#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <quire/attention/rows_ahead.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/code_layout.hpp>
#include <quire/core/digits.hpp>
#include <quire/core/simd.hpp>

/// Attention over keys and values that are whole numbers of 4 or 8 bits, without turning them into fp32.
///
/// The other factor, a query or a tile's weights, becomes whole numbers of 23 bits, written as three
/// signed bytes; products of bytes are summed exactly and put together in fp32. The rounding is that of
/// fp32 against the largest element, so that results agree with load() as fp32 sums do.
namespace quire::attention::detail {

using simd::code_digits;
using simd::largest_magnitude;
using simd::to_digits;

inline constexpr std::size_t code_rows = 4;  // rows that one register tile serves

/// Calls use(r, column, sums) for vectors of columns with sum over k of a[r][k] * b[k][column], a in
/// digits, k counting words of four bytes.
/// \shape b (steps, b_stride) words of unsigned bytes; a (Rows, code_digits, steps) words of signed
/// ones; start (Rows, code_digits): what each digit's sum starts from
template <std::size_t Rows, std::size_t Vectors, class Use>
HWY_INLINE void multiply_codes(std::size_t steps, const std::uint32_t* b, std::size_t b_stride,
                               const std::int8_t* a, std::size_t a_row, std::size_t a_digit,
                               const std::int32_t* start, std::size_t column, RowsAhead& ahead,
                               const Use& use) {
  using namespace simd;
  RowsAhead next = ahead;
  WordVec sums[Rows * code_digits * Vectors];
  unrolled<Rows * code_digits>([&](auto i) __attribute__((always_inline)) {
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      sums[i * Vectors + v] = hn::Set(Words(), start[i]);
    });
  });
  for (std::size_t k = 0; k < steps; ++k) {
    next.fetch();
    WordVec right[Vectors];
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      right[v] = hn::BitCast(
          Words(), hn::LoadU(hn::RebindToUnsigned<Words>(), b + k * b_stride + column + v * lanes));
    });
    unrolled<Rows * code_digits>([&](auto i) __attribute__((always_inline)) {
      constexpr std::size_t r = decltype(i)::value / code_digits;
      constexpr std::size_t d = decltype(i)::value % code_digits;
      std::int32_t word;
      std::memcpy(&word, a + r * a_row + d * a_digit + 4 * k, sizeof word);
      const WordVec left = hn::Set(Words(), word);
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        sums[i * Vectors + v] = dot_bytes(sums[i * Vectors + v], right[v], left);
      });
    });
  }
  ahead = next;
  unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      Vec x = hn::Zero(Floats());
      unrolled<code_digits>([&](auto i) __attribute__((always_inline)) {
        constexpr std::size_t d = code_digits - 1 - decltype(i)::value;
        x = hn::MulAdd(
            x, set(256.0f),
            hn::ConvertTo(Floats(), sums[(decltype(r)::value * code_digits + d) * Vectors + v]));
      });
      use(decltype(r)::value, column + v * lanes, x);
    });
  });
}

/// The same for all columns, a multiple of lanes.
template <std::size_t Rows, class Use>
void multiply_code_columns(std::size_t columns, std::size_t steps, const std::uint32_t* b,
                           std::size_t b_stride, const std::int8_t* a, std::size_t a_row,
                           std::size_t a_digit, const std::int32_t* start, RowsAhead& ahead,
                           const Use& use) {
  std::size_t c = 0;
  for (; c + 2 * simd::lanes <= columns; c += 2 * simd::lanes) {
    multiply_codes<Rows, 2>(steps, b, b_stride, a, a_row, a_digit, start, c, ahead, use);
  }
  for (; c < columns; c += simd::lanes) {
    multiply_codes<Rows, 1>(steps, b, b_stride, a, a_row, a_digit, start, c, ahead, use);
  }
}

/// Where one side's tokens of a tile begin: a row of zeros where there is none.
struct CodeRows {
  const std::byte* const* rows;  // (tile_tokens)
  const std::uint32_t* slots;    // (tile_tokens): within their slabs
  std::size_t begin, end;        // tokens that there are
  bool in_order;                 // those of a block lie one behind the other
};

/// Keys or values of a tile as words of four unsigned bytes, beside their scales.
template <bool keys>
class CodeTile {
 public:
  /// memory: tile_tokens * head_dim floats
  CodeTile(const CodeLayout& layout, std::size_t head_dim, float* memory)
      : layout_(layout),
        head_dim_(head_dim),
        groups_(head_dim / layout.group),
        words_(reinterpret_cast<std::uint32_t*>(memory)),
        scales_(memory + tile_tokens / 4 * head_dim),
        offsets_(scales_ + groups_ * tile_tokens),
        halves_(reinterpret_cast<std::uint32_t*>(offsets_ + groups_ * tile_tokens)) {}

  /// \shape keys (head_dim / 4, tile_tokens): words of one token's neighbouring channels;
  /// values (tile_tokens / 4, head_dim): words of one channel's neighbouring tokens
  [[nodiscard]] const std::uint32_t* words() const { return words_; }
  [[nodiscard]] std::size_t groups() const { return groups_; }
  [[nodiscard]] std::size_t group() const { return layout_.group; }
  /// \shape (tile_tokens)
  [[nodiscard]] const float* scales(std::size_t g) const { return scales_ + g * tile_tokens; }
  [[nodiscard]] const float* offsets(std::size_t g) const { return offsets_ + g * tile_tokens; }
  [[nodiscard]] bool has_offsets() const {
    return layout_.scale == CodeLayout::Scale::fp16_and_offset || layout_.zero != 0;
  }
  /// What products count too much for each unit of the other factor: signed bytes are stored with 128
  /// added.
  [[nodiscard]] std::int32_t excess() const { return layout_.bits == 8 ? 128 : 0; }

  /// Fetches the first half of what lies ahead; products fetch the rest.
  void pack(const CodeRows& from, RowsAhead& ahead) {
    const std::size_t bytes = layout_.group * layout_.bits / 8;
    const bool halves = layout_.bits == 4;
    const std::size_t high = layout_.group / 2 * (keys ? tile_tokens / 4 : 1);
    for (std::size_t t = 0; t < from.end; t += 16) {
      for (std::size_t i = 0; i < 8 * layout_.row_bytes; i += 64) ahead.fetch();
      const bool run = in_one_run(from, t);
      for (std::size_t g = 0; g < groups_; ++g) {
        const std::size_t at = g * layout_.group_bytes + layout_.codes_at;
        const std::size_t channel = g * layout_.group;
        std::uint32_t* to =
            words_ + (keys ? channel / 4 * tile_tokens + t : t / 4 * head_dim_ + channel);
        for (std::size_t i = 0; i < bytes; i += 16, to += keys ? 4 * tile_tokens : 16) {
          if (run) {
            const std::byte* first = from.rows[t] + at + i;
            const std::size_t step = layout_.row_bytes;
            pack_run(
                [ first, step ](std::size_t r)
                    __attribute__((always_inline)) { return first + r * step; },
                halves, to, high);
          } else {
            const std::byte* const* rows = from.rows + t;
            pack_run(
                [ rows, j = at + i ](std::size_t r)
                    __attribute__((always_inline)) { return rows[r] + j; },
                halves, to, high);
          }
        }
      }
    }
    load_scales(from);
  }

 private:
  /// Whether sixteen tokens lie one behind the other.
  [[nodiscard]] bool in_one_run(const CodeRows& from, std::size_t t) const {
    return from.in_order && t >= from.begin && t + 16 <= from.end &&
           from.slots[t + 15] == from.slots[t] + 15 &&
           from.rows[t + 15] == from.rows[t] + 15 * layout_.row_bytes;
  }

  /// Sixteen tokens' runs of sixteen bytes, where `at` tells. Words of upper halves lie `high` behind
  /// those of lower ones.
  template <class At>
  HWY_INLINE void pack_run(const At& at, bool halves, std::uint32_t* to, std::size_t high) const {
#if HWY_TARGET == HWY_SCALAR
    for (std::size_t i = 0; i < 256; ++i) {
      // byte b of token t is byte b % 4 of word b / 4 of token t, or byte t % 4 of channel b's word
      const std::size_t t = i % 16, b = i / 16;
      const auto code = std::to_integer<unsigned>(at(t)[b]);
      std::uint32_t* word = to + (keys ? b / 4 * tile_tokens + t : t / 4 * head_dim_ + b);
      auto* byte = reinterpret_cast<std::uint8_t*>(word) + (keys ? b : t) % 4;
      *byte = static_cast<std::uint8_t>(halves ? code & 15u : code ^ 128u);
      if (halves) byte[high * sizeof *to] = static_cast<std::uint8_t>(code >> 4);
    }
#else
    namespace hn = simd::hn;
    const hn::FixedTag<std::uint8_t, 16> block;
    constexpr std::size_t quads = simd::lanes == 16 ? 4 : 1;  // of tokens, one a block of 16 bytes
    const hn::FixedTag<std::uint8_t, 16 * quads> d8;
    const hn::FixedTag<std::uint16_t, 8 * quads> d16;
    const hn::FixedTag<std::uint32_t, 4 * quads> d32;
    const hn::FixedTag<std::uint64_t, 2 * quads> d64;
    for (std::size_t t = 0; t < 16; t += 4 * quads) {
      const auto load = [&](std::size_t i) __attribute__((always_inline)) {
        return hn::LoadU(block, reinterpret_cast<const std::uint8_t*>(at(t + i)));
      };
      // Token i of every quad; generic, so that narrower processors need not know of wider vectors.
      const auto every = [&](auto i) __attribute__((always_inline)) {
        if constexpr (quads == 1) {
          return load(i);
        } else {
          const hn::FixedTag<std::uint8_t, 8 * quads> two;
          return hn::Combine(d8, hn::Combine(two, load(i + 12), load(i + 8)),
                             hn::Combine(two, load(i + 4), load(i)));
        }
      };
      const auto a = every(std::size_t{0}), b = every(std::size_t{1}), c = every(std::size_t{2}),
                 d = every(std::size_t{3});
      // words, or bytes, of four tokens side by side
      const auto weave = [&](auto narrow, auto wide) __attribute__((always_inline)) {
        const auto as = [&](auto v) { return hn::BitCast(narrow, v); };
        const auto ab = hn::BitCast(wide, hn::InterleaveLower(narrow, as(a), as(b)));
        const auto cd = hn::BitCast(wide, hn::InterleaveLower(narrow, as(c), as(d)));
        const auto ab2 = hn::BitCast(wide, hn::InterleaveUpper(narrow, as(a), as(b)));
        const auto cd2 = hn::BitCast(wide, hn::InterleaveUpper(narrow, as(c), as(d)));
        const decltype(a) woven[4] = {hn::BitCast(d8, hn::InterleaveLower(wide, ab, cd)),
                                      hn::BitCast(d8, hn::InterleaveUpper(wide, ab, cd)),
                                      hn::BitCast(d8, hn::InterleaveLower(wide, ab2, cd2)),
                                      hn::BitCast(d8, hn::InterleaveUpper(wide, ab2, cd2))};
        const auto each = [&](auto change) __attribute__((always_inline)) {
          std::array<decltype(a), 4> v{change(woven[0]), change(woven[1]), change(woven[2]),
                                       change(woven[3])};
          return v;
        };
        if (halves) {
          const auto half = hn::Set(d8, 0x0f);
          put(each([&](auto v) { return hn::And(v, half); }), d32, to, t);
          put(each([&](auto v) {
                return hn::And(hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, v))), half);
              }),
              d32, to + high, t);
        } else {
          const auto sign = hn::Set(d8, 0x80);
          put(each([&](auto v) { return hn::Xor(v, sign); }), d32, to, t);
        }
      };
      if constexpr (keys) {
        weave(d32, d64);
      } else {
        weave(d8, d16);
      }
    }
#endif
  }

#if HWY_TARGET != HWY_SCALAR
  /// Stores four vectors of words. Keys: vector j holds word j of tokens t, t + 1, ...; values: block L of
  /// vector j holds channels [4 j, 4 j + 4) of quad t / 4 + L.
  template <class V, class D>
  HWY_INLINE void put(const std::array<V, 4>& words, D d, std::uint32_t* to, std::size_t t) const {
    namespace hn = simd::hn;
    V v[4] = {words[0], words[1], words[2], words[3]};
    std::size_t next = tile_tokens;
    if constexpr (keys) {
      to += t;
    } else {
      next = hn::MaxLanes(D()) == 16 ? head_dim_ : 4;
      to += t / 4 * head_dim_;
      if constexpr (hn::MaxLanes(D()) == 16) {  // four by four blocks
        const auto as = [&](auto x) { return hn::BitCast(d, x); };
        const auto even = hn::ConcatLowerLower(d, as(v[2]), as(v[0]));
        const auto odd = hn::ConcatLowerLower(d, as(v[3]), as(v[1]));
        const auto even2 = hn::ConcatUpperUpper(d, as(v[2]), as(v[0]));
        const auto odd2 = hn::ConcatUpperUpper(d, as(v[3]), as(v[1]));
        const decltype(even) rows[4] = {hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd), even),
                                        hn::OddEvenBlocks(odd, hn::SwapAdjacentBlocks(even)),
                                        hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd2), even2),
                                        hn::OddEvenBlocks(odd2, hn::SwapAdjacentBlocks(even2))};
        for (std::size_t j = 0; j < 4; ++j) hn::StoreU(rows[j], d, to + j * next);
        return;
      }
    }
    simd::unrolled<4>([&](auto j) { hn::StoreU(hn::BitCast(d, v[j]), d, to + j * next); });
  }
#endif

  void load_scales(const CodeRows& from) {
    const std::size_t end = simd::round_up(from.end, 16);
    const bool beside = layout_.scale == CodeLayout::Scale::fp32_of_slab;
    // from a token's row back to its slab's begin, and on to its scale
    const std::size_t back = beside ? layout_.row_bytes - sizeof(float) : 0;
    for (std::size_t g = 0; g < groups_; ++g) {
      const std::byte* const* rows = from.rows;
      const std::size_t at = g * layout_.group_bytes + layout_.scale_at;
      std::uint32_t* to = halves_ + g * tile_tokens;
      std::fill(to, to + from.begin, 0u);
      for (std::size_t t = from.begin; t < from.end;) {
        const std::byte* scale = rows[t] + at - from.slots[t] * back;
        if (t + 16 <= from.end && in_one_run(from, t)) {
          if (beside) {
            std::memcpy(to + t, scale, 16 * sizeof *to);
          } else {
            gather(scale, to + t);
          }
          t += 16;
        } else {
          std::memcpy(to + t, scale, sizeof *to);
          ++t;
        }
      }
      std::fill(to + from.end, to + end, 0u);
      for (std::size_t t = 0; t < end; t += simd::lanes) unpack_scales(g * tile_tokens + t);
    }
  }

  /// Words of sixteen tokens that lie one behind the other.
  void gather(const std::byte* from, std::uint32_t* to) const {
    namespace hn = simd::hn;
    const auto step = static_cast<std::int32_t>(layout_.row_bytes);
    for (std::size_t t = 0; t < 16; t += simd::lanes) {
      const auto offsets = hn::Mul(hn::Iota(simd::Words(), static_cast<std::int32_t>(t)),
                                   hn::Set(simd::Words(), step));
      const auto words =
          hn::GatherOffset(simd::Words(), reinterpret_cast<const std::int32_t*>(from), offsets);
      hn::StoreU(words, simd::Words(), reinterpret_cast<std::int32_t*>(to) + t);
    }
  }

  void unpack_scales(std::size_t t) {
    using namespace simd;
    if (layout_.scale == CodeLayout::Scale::fp32_of_slab) {
      std::memcpy(scales_ + t, halves_ + t, lanes * sizeof(float));
    } else {
      const hn::RebindToUnsigned<Words> word;
      const hn::Rebind<std::uint16_t, Floats> half;
      const hn::Rebind<hwy::float16_t, Floats> floats;
      const auto both = hn::LoadU(word, halves_ + t);
      const auto as_float = [&](auto bits) {
        return hn::PromoteTo(Floats(), hn::BitCast(floats, hn::TruncateTo(half, bits)));
      };
      store(as_float(both), scales_ + t);
      if (layout_.scale == CodeLayout::Scale::fp16_and_offset) {
        store(as_float(hn::ShiftRight<16>(both)), offsets_ + t);
        return;
      }
    }
    if (layout_.zero != 0) store(hn::Mul(load(scales_ + t), set(-layout_.zero)), offsets_ + t);
  }

  CodeLayout layout_;
  std::size_t head_dim_, groups_;
  std::uint32_t* words_;
  float *scales_, *offsets_;
  std::uint32_t* halves_;
};

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
    steps_[r] = to_digits(q, head_dim_, largest_magnitude(q, head_dim_), digits(r), head_dim_, all);
    const std::size_t group = head_dim_ / groups_;
    for (std::size_t g = 0; g < groups_; ++g) {
      float total = 0;
      for (std::size_t d = code_digits; d-- > 0;) {
        std::int32_t part = 0;
        for (std::size_t i = 0; i < group; ++i) part += digits(r)[d * head_dim_ + g * group + i];
        start(r, g)[d] = -excess * part;
        total = total * 256 + static_cast<float>(part);
      }
      totals_[r * groups_ + g] = total * steps_[r];
    }
  }

  /// scores (rows, tile_tokens) of rows [0, rows), for `tokens` columns, a multiple of 16
  void multiply(const CodeTile<true>& keys, std::size_t rows, std::size_t tokens, RowsAhead& ahead,
                float* scores) const {
    std::size_t r = 0;
    for (; r + code_rows <= rows; r += code_rows) {
      multiply_some<code_rows>(keys, r, tokens, ahead, scores);
    }
    for (; r < rows; ++r) multiply_some<1>(keys, r, tokens, ahead, scores);
  }

 private:
  [[nodiscard]] std::int8_t* digits(std::size_t r) const {
    return digits_ + r * code_digits * head_dim_;
  }
  // (group, row, digit), so that a tile's rows lie together
  [[nodiscard]] std::int32_t* start(std::size_t r, std::size_t g) const {
    return starts_ + (g * rows_ + r) * code_digits;
  }

  template <std::size_t Rows>
  void multiply_some(const CodeTile<true>& keys, std::size_t r, std::size_t tokens,
                     RowsAhead& ahead, float* scores) const {
    using namespace simd;
    const std::size_t words = keys.group() / 4;
    for (std::size_t g = 0; g < groups_; ++g) {
      multiply_code_columns<Rows>(
          tokens, words, keys.words() + g * words * tile_tokens, tile_tokens,
          digits(r) + g * keys.group(), code_digits * head_dim_, head_dim_, start(r, g),
          ahead, [&](std::size_t i, std::size_t t, Vec product) __attribute__((always_inline)) {
            float* to = scores + (r + i) * tile_tokens + t;
            Vec s = g == 0 ? hn::Zero(Floats()) : load(to);
            if (keys.has_offsets()) {
              const Vec total = simd::set(totals_[(r + i) * groups_ + g]);
              s = hn::MulAdd(load(keys.offsets(g) + t), total, s);
            }
            const Vec scaled = hn::Mul(product, simd::set(steps_[r + i]));
            store(hn::MulAdd(scaled, load(keys.scales(g) + t), s), to);
          });
    }
  }

  std::size_t head_dim_, groups_, rows_;
  std::int8_t* digits_;
  float* totals_;  // a group's sum of a query
  std::int32_t* starts_;
  float* steps_;
};

/// sums += weights * values. \shape weights (rows, tile_tokens), zero where a token is not seen; sums
/// (rows, stride); tokens: a multiple of 16
template <std::size_t Rows>
void add_code_values(const CodeTile<false>& values, std::size_t head_dim, const float* weights,
                     std::size_t tokens, RowsAhead& ahead, float* sums, std::size_t stride) {
  using namespace simd;
  alignas(64) std::int8_t digits[Rows * code_digits * tile_tokens];
  alignas(64) float scaled[Rows * tile_tokens];
  std::int32_t start[Rows * code_digits];
  float steps[Rows], offsets[Rows], largest[Rows];
  for (std::size_t g = 0; g < values.groups(); ++g) {
    // Step by step for all rows, so that they do not wait for each other's sums.
    for (std::size_t r = 0; r < Rows; ++r) {
      Vec offset = hn::Zero(Floats());
      for (std::size_t t = 0; t < tokens; t += lanes) {
        const Vec w = load(weights + r * tile_tokens + t);
        // Not seen: the scale may be that of nobody's token.
        const auto unseen = hn::Eq(w, hn::Zero(Floats()));
        const Vec x = hn::IfThenZeroElse(unseen, hn::Mul(w, load(values.scales(g) + t)));
        store(x, scaled + r * tile_tokens + t);
        if (values.has_offsets()) {
          offset =
              hn::Add(offset, hn::IfThenZeroElse(unseen, hn::Mul(w, load(values.offsets(g) + t))));
        }
      }
      offsets[r] = values.has_offsets() ? sum(offset) : 0.0f;
      largest[r] = largest_magnitude(scaled + r * tile_tokens, tokens);
    }
    for (std::size_t r = 0; r < Rows; ++r) {
      steps[r] =
          to_digits(scaled + r * tile_tokens, tokens, largest[r],
                    digits + r * code_digits * tile_tokens, tile_tokens, start + r * code_digits);
    }
    for (std::int32_t& s : start) s *= -values.excess();
    float* to = sums + g * values.group();
    multiply_code_columns<Rows>(
        values.group(), tokens / 4, values.words() + g * values.group(), head_dim, digits,
        code_digits * tile_tokens, tile_tokens, start,
        ahead, [&](std::size_t r, std::size_t c, Vec product) __attribute__((always_inline)) {
          const Vec before = hn::Add(load(to + r * stride + c), set(offsets[r]));
          store(hn::MulAdd(product, set(steps[r]), before), to + r * stride + c);
        });
  }
}

inline void add_code_values(const CodeTile<false>& values, std::size_t head_dim,
                            const float* weights, std::size_t rows, std::size_t tokens,
                            RowsAhead& ahead, float* sums, std::size_t stride) {
  std::size_t r = 0;
  for (; r + code_rows <= rows; r += code_rows) {
    add_code_values<code_rows>(values, head_dim, weights + r * tile_tokens, tokens, ahead,
                               sums + r * stride, stride);
  }
  for (; r < rows; ++r) {
    add_code_values<1>(values, head_dim, weights + r * tile_tokens, tokens, ahead,
                       sums + r * stride, stride);
  }
}

}  // namespace quire::attention::detail
