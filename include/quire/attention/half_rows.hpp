// mechanism: products of a tile's 16-bit keys and values with few queries, without a copy of them in fp32
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <quire/attention/rows_ahead.hpp>
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
template <class Half, std::size_t Rows>
HWY_NOINLINE void multiply_keys(const std::byte* const* keys, std::size_t tokens, std::size_t dim,
                                const float* q, std::size_t q_stride, float* scores,
                                std::size_t scores_stride, RowsAhead keys_ahead,
                                RowsAhead values_ahead) {
  namespace hn = simd::hn;
  using simd::lanes;
  for (std::size_t t = 0; t < tokens; t += lanes) {
    simd::Vec sums[Rows];
    simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      sums[r] = hn::Zero(simd::Floats());
    });
    for (std::size_t i = 0; i < dim; i += 2 * lanes) {
      simd::Vec square[lanes];
      simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
        keys_ahead.fetch();
        if constexpr (l % 2 == 1) values_ahead.fetch();
        square[l] = simd::load(reinterpret_cast<const float*>(keys[t + l]) + i / 2);
      });
      simd::transpose(square);
      simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
        const auto pairs = hn::BitCast(Words(), square[l]);
        const simd::Vec first = Parts<Half>::former(pairs), second = Parts<Half>::latter(pairs);
        const float* const at = q + i + 2 * l;
        simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
          sums[r] = hn::MulAdd(simd::set(at[r * q_stride]), first, sums[r]);
        });
        simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
          sums[r] = hn::MulAdd(simd::set(at[r * q_stride + 1]), second, sums[r]);
        });
      });
    }
    simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      simd::store(sums[r], scores + r * scores_stride + t);
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
                             std::size_t end, const float* weights, std::size_t weights_stride,
                             float* to, std::size_t to_stride, RowsAhead ahead) {
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
    ahead.fetch();
    const std::byte* const row = values[t] + dim * sizeof(Half);
    simd::Vec right[2 * Pairs];
    simd::unrolled<Pairs>([&](auto p) __attribute__((always_inline)) {
      Channels<Half>::load(row + 2 * p * lanes * sizeof(Half), right[2 * p], right[2 * p + 1]);
    });
    simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const simd::Vec left = simd::set(weights[r * weights_stride + t]);
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
/// \shape keys (tokens) rows of dim halves; q (rows, dim), scores (rows, tokens), their rows so many apart
/// \pre rows <= most_queries, tokens % 16 == 0, dim % 32 == 0
template <class Half>
void multiply_keys(std::size_t rows, const std::byte* const* keys, std::size_t tokens,
                   std::size_t dim, const float* q, std::size_t q_stride, float* scores,
                   std::size_t scores_stride, const RowsAhead& keys_ahead,
                   const RowsAhead& values_ahead) {
  detail::with_rows(rows, [&](auto count) {
    detail::multiply_keys<Half, decltype(count)::value>(keys, tokens, dim, q, q_stride, scores,
                                                        scores_stride, keys_ahead, values_ahead);
  });
}

/// sums += weights values over tokens [begin, end). ahead(channel): what is fetched with the channels
/// from that on.
/// \shape values (end) rows of dim halves; weights (rows, end), sums (rows, dim), their rows so many apart
/// \pre rows <= most_queries, dim % 64 == 0
template <class Half, class Ahead>
void add_values(std::size_t rows, const std::byte* const* values, std::size_t dim,
                std::size_t begin, std::size_t end, const float* weights,
                std::size_t weights_stride, float* sums, std::size_t sums_stride,
                const Ahead& ahead) {
  detail::with_rows(rows, [&](auto count) {
    constexpr std::size_t rows_here = decltype(count)::value, pairs = rows_here <= 6 ? 2 : 1;
    for (std::size_t i = 0; i < dim; i += 2 * pairs * simd::lanes) {
      detail::add_values<Half, rows_here, pairs>(values, i, begin, end, weights, weights_stride,
                                                 sums, sums_stride, ahead(i));
    }
  });
}

}  // namespace quire::attention::detail::half_rows
