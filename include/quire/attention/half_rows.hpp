// mechanism: products of a tile's 16-bit keys and values with few queries, without a copy of them in fp32
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <quire/attention/rows_ahead.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/simd.hpp>

namespace quire::attention::detail::half_rows {

// Sums are formed in the order in which simd::multiply_tile forms them: bits do not tell which was taken.

/// Needs a register for each token of a square, and as many for all else.
inline constexpr bool registers_suffice = simd::lanes == 16;
inline constexpr std::size_t most_queries = 8;
template <class Element>
inline constexpr bool suits = registers_suffice &&
                              (std::is_same_v<Element, Bf16> || std::is_same_v<Element, Fp16>);

using Words = simd::hn::RebindToUnsigned<simd::Floats>;
using Pairs = simd::hn::Vec<Words>;

/// The former and the latter of two neighbouring channels in each lane.
template <class Half>
struct Parts;
template <>
struct Parts<Bf16> {
  static HWY_INLINE simd::Vec former(Pairs pairs) {
    return simd::hn::BitCast(simd::Floats(), simd::hn::ShiftLeft<16>(pairs));
  }
  static HWY_INLINE simd::Vec latter(Pairs pairs) {
    return simd::hn::BitCast(simd::Floats(),
                             simd::hn::And(pairs, simd::hn::Set(Words(), 0xffff0000u)));
  }
};
template <>
struct Parts<Fp16> {
  static HWY_INLINE simd::Vec former(Pairs pairs) {
    namespace hn = simd::hn;
    const hn::Rebind<std::uint16_t, simd::Floats> half;
    const hn::Rebind<hwy::float16_t, simd::Floats> narrow;
    return hn::PromoteTo(simd::Floats(), hn::BitCast(narrow, hn::TruncateTo(half, pairs)));
  }
  static HWY_INLINE simd::Vec latter(Pairs pairs) {
    return former(simd::hn::ShiftRight<16>(pairs));
  }
};

namespace detail {
/// Keys are multiplied a square at a time: of 16 tokens and 32 channels, a word for each two of them.
inline constexpr std::size_t square_lines = simd::lanes;
inline constexpr std::size_t square_floats = simd::lanes * simd::lanes;

/// What a square's products fetch meanwhile: as many lines of keys, and half as many of values.
struct SquareAhead {
  RowsAhead keys, values;
  std::size_t key_rows, value_rows;  // that so many lines are; 0: not whole ones
  const std::byte *key_lines = nullptr, *value_lines = nullptr;

  SquareAhead(const RowsAhead& k, const RowsAhead& v)
      : keys(k),
        values(v),
        key_rows(whole_rows(k, square_lines)),
        value_rows(whole_rows(v, square_lines / 2)) {}
  static std::size_t whole_rows(const RowsAhead& rows, std::size_t lines) {
    return rows.bytes != 0 && lines * 64 % rows.bytes == 0 ? lines * 64 / rows.bytes : 0;
  }
  HWY_INLINE void start() {
    key_lines = keys.take(key_rows);
    value_lines = values.take(value_rows);
  }
  /// The lines that belong to row l of the square.
  HWY_INLINE void fetch(std::size_t l) {
    if (key_lines != nullptr) {
      fetch_line(key_lines + 64 * l);
    } else {
      keys.fetch();
    }
    if (l % 2 == 0) return;
    if (value_lines != nullptr) {
      fetch_line(value_lines + 32 * (l - 1));
    } else {
      values.fetch();
    }
  }
};

/// \shape q (2, Rows): of the pair's channels
template <class Half, std::size_t Rows>
HWY_INLINE void add_products(Pairs pairs, const float* q, simd::Vec (&sums)[Rows]) {
  namespace hn = simd::hn;
  const simd::Vec first = Parts<Half>::former(pairs), second = Parts<Half>::latter(pairs);
  simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    sums[r] = hn::MulAdd(simd::set(q[r]), first, sums[r]);
  });
  simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    sums[r] = hn::MulAdd(simd::set(q[Rows + r]), second, sums[r]);
  });
}

/// A quarter of a square's transposing: blocks of rows [4 A, 4 A + 4), transposed in themselves.
/// \shape parts (16, 16)
template <std::size_t A>
HWY_INLINE void transpose_rows(const std::byte* const* rows, std::size_t at, float* parts) {
  simd::Vec v[4];
  simd::unrolled<4>([&](auto l) __attribute__((always_inline)) {
    v[l] = simd::load(reinterpret_cast<const float*>(rows[4 * A + l] + at));
  });
  simd::transpose_in_blocks(v);
  simd::unrolled<4>([&](auto l) __attribute__((always_inline)) {
    simd::store(v[l], parts + (4 * A + l) * simd::lanes);
  });
}
/// A quarter of the rest: the square's columns J, 4 + J, 8 + J and 12 + J. \shape words (16, 16)
template <std::size_t J>
HWY_INLINE void gather_columns(const float* parts, float* words) {
  simd::Vec v[4];
  simd::unrolled<4>([&](auto b) __attribute__((always_inline)) {
    v[b] = simd::load(parts + (4 * b + J) * simd::lanes);
  });
  simd::transpose_blocks(v);
  simd::unrolled<4>([&](auto b) __attribute__((always_inline)) {
    simd::store(v[b], words + (4 * b + J) * simd::lanes);
  });
}

/// While a square is multiplied, the next is transposed: both take the same time of other parts of the
/// processor, which does not look so far ahead by itself. One row on Zen 4 gains little, eight a tenth.
template <class Half, std::size_t Rows>
HWY_NOINLINE void multiply_keys(const std::byte* const* keys, std::size_t tokens, std::size_t dim,
                                const float* q, float* scores, const RowsAhead& keys_ahead,
                                const RowsAhead& values_ahead) {
  namespace hn = simd::hn;
  using simd::lanes;
  constexpr std::size_t width = 2 * lanes;  // channels
  SquareAhead ahead(keys_ahead, values_ahead);
  alignas(64) float parts[square_floats], one[square_floats], other[square_floats];
  float *words = one, *coming = other;
  simd::unrolled<4>([&](auto a)
                        __attribute__((always_inline)) { transpose_rows<a>(keys, 0, parts); });
  simd::unrolled<4>([&](auto j)
                        __attribute__((always_inline)) { gather_columns<j>(parts, words); });
  for (std::size_t t = 0; t < tokens; t += lanes) {
    simd::Vec sums[Rows];
    simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      sums[r] = hn::Zero(simd::Floats());
    });
    for (std::size_t i = 0; i < dim; i += width) {
      const bool last = i + width == dim;
      const std::byte* const* next = keys + (!last ? t : t + lanes < tokens ? t + lanes : 0);
      const std::size_t next_bytes = last ? 0 : (i + width) * sizeof(Half);
      const float* const at = q + i * Rows;
      ahead.start();
      simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
        ahead.fetch(l);
        if constexpr (l < 8 && l % 2 == 0) transpose_rows<l / 2>(next, next_bytes, parts);
        if constexpr (l >= 8 && l % 2 == 0) gather_columns<l / 2 - 4>(parts, coming);
        const auto word = hn::BitCast(Words(), simd::load(words + l * lanes));
        add_products<Half>(word, at + 2 * l * Rows, sums);
      });
      std::swap(words, coming);
    }
    simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      simd::store(sums[r], scores + r * tile_tokens + t);
    });
  }
}

/// How 32 neighbouring channels of sums and of a value stand in two registers: neighbours of bf16 part
/// into one register each, fp16 becomes two times sixteen.
template <class Half>
struct Channels;
template <>
struct Channels<Bf16> {
  static HWY_INLINE void load_sums(const float* from, simd::Vec& a, simd::Vec& b) {
    simd::hn::LoadInterleaved2(simd::Floats(), from, a, b);
  }
  static HWY_INLINE void store_sums(simd::Vec a, simd::Vec b, float* to) {
    simd::hn::StoreInterleaved2(a, b, simd::Floats(), to);
  }
  static HWY_INLINE void load(const std::byte* from, simd::Vec& a, simd::Vec& b) {
    const auto pairs = simd::hn::LoadU(Words(), reinterpret_cast<const std::uint32_t*>(from));
    a = Parts<Bf16>::former(pairs);
    b = Parts<Bf16>::latter(pairs);
  }
};
template <>
struct Channels<Fp16> {
  static HWY_INLINE void load_sums(const float* from, simd::Vec& a, simd::Vec& b) {
    a = simd::load(from);
    b = simd::load(from + simd::lanes);
  }
  static HWY_INLINE void store_sums(simd::Vec a, simd::Vec b, float* to) {
    simd::store(a, to);
    simd::store(b, to + simd::lanes);
  }
  static HWY_INLINE void load(const std::byte* from, simd::Vec& a, simd::Vec& b) {
    const auto* halves = reinterpret_cast<const Fp16*>(from);
    a = simd::load(halves);
    b = simd::load(halves + simd::lanes);
  }
};

/// Of 32 * Pairs channels from `dim` on.
template <class Half, std::size_t Rows, std::size_t Pairs>
HWY_NOINLINE void add_values(const std::byte* const* values, std::size_t dim, std::size_t begin,
                             std::size_t end, const float* weights, float* to,
                             std::size_t to_stride, RowsAhead ahead) {
  namespace hn = simd::hn;
  using simd::lanes;
  simd::Vec sums[Rows][2 * Pairs];
  simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    simd::unrolled<Pairs>([&](auto p) __attribute__((always_inline)) {
      Channels<Half>::load_sums(to + r * to_stride + dim + 2 * p * lanes, sums[r][2 * p],
                                sums[r][2 * p + 1]);
    });
  });
  for (std::size_t t = begin; t < end; ++t) {
    if (Pairs == 2 || t % 2 == 0) ahead.fetch();  // each once, over all channels
    const std::byte* const row = values[t] + dim * sizeof(Half);
    simd::Vec right[2 * Pairs];
    simd::unrolled<Pairs>([&](auto p) __attribute__((always_inline)) {
      Channels<Half>::load(row + 2 * p * lanes * sizeof(Half), right[2 * p], right[2 * p + 1]);
    });
    simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const simd::Vec left = simd::set(weights[r * tile_tokens + t]);
      simd::unrolled<2 * Pairs>([&](auto v) __attribute__((always_inline)) {
        sums[r][v] = hn::MulAdd(left, right[v], sums[r][v]);
      });
    });
  }
  simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    simd::unrolled<Pairs>([&](auto p) __attribute__((always_inline)) {
      Channels<Half>::store_sums(sums[r][2 * p], sums[r][2 * p + 1],
                                 to + r * to_stride + dim + 2 * p * lanes);
    });
  });
}

/// body(integral_constant<rows>)
template <std::size_t Rows = 1, class Body>
void with_rows(std::size_t rows, const Body& body) {
  if constexpr (Rows <= most_queries) {
    if (rows == Rows) return body(std::integral_constant<std::size_t, Rows>{});
    with_rows<Rows + 1>(rows, body);
  }
}
}  // namespace detail

/// scores = q keys^T: squares of 16 tokens and 32 channels are transposed in registers and multiplied
/// there.
/// \shape keys (tokens) rows of dim halves; q (dim, rows), scores (rows, tile_tokens)
/// \pre rows <= most_queries, tokens % 16 == 0, dim % 32 == 0
template <class Half>
void multiply_keys(std::size_t rows, const std::byte* const* keys, std::size_t tokens,
                   std::size_t dim, const float* q, float* scores, const RowsAhead& keys_ahead,
                   const RowsAhead& values_ahead) {
  detail::with_rows(rows, [&](auto count) {
    detail::multiply_keys<Half, decltype(count)::value>(keys, tokens, dim, q, scores, keys_ahead,
                                                        values_ahead);
  });
}

/// sums += weights values over tokens [begin, end). ahead(channel): what is fetched with the channels
/// from that on.
/// \shape values (end) rows of dim halves; weights (rows, tile_tokens), sums (rows, dim), whose rows are
/// sums_stride apart
/// \pre rows <= most_queries, dim % 64 == 0
template <class Half, class Ahead>
void add_values(std::size_t rows, const std::byte* const* values, std::size_t dim,
                std::size_t begin, std::size_t end, const float* weights, float* sums,
                std::size_t sums_stride, const Ahead& ahead) {
  detail::with_rows(rows, [&](auto count) {
    constexpr std::size_t rows_here = decltype(count)::value, pairs = rows_here <= 6 ? 2 : 1;
    for (std::size_t i = 0; i < dim; i += 2 * pairs * simd::lanes) {
      detail::add_values<Half, rows_here, pairs>(values, i, begin, end, weights, sums, sums_stride,
                                                 ahead(i));
    }
  });
}

}  // namespace quire::attention::detail::half_rows
