// mechanism: products of a tile's bf16 keys and values with few queries, without a copy of them in fp32
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <quire/attention/rows_ahead.hpp>
#include <quire/core/simd.hpp>

namespace quire::attention::detail::bf16_rows {

// Sums are formed in the order in which simd::multiply_tile forms them: bits do not tell which was taken.

/// Needs a register for each token of a square, and as many for all else.
inline constexpr bool registers_suffice = simd::lanes == 16;
inline constexpr std::size_t most_queries = 8;

using Words = simd::hn::RebindToUnsigned<simd::Floats>;

/// The former and the latter of two neighbouring channels in each lane.
HWY_INLINE simd::Vec former(simd::hn::Vec<Words> pairs) {
  return simd::hn::BitCast(simd::Floats(), simd::hn::ShiftLeft<16>(pairs));
}
HWY_INLINE simd::Vec latter(simd::hn::Vec<Words> pairs) {
  return simd::hn::BitCast(simd::Floats(),
                           simd::hn::And(pairs, simd::hn::Set(Words(), 0xffff0000u)));
}

namespace detail {
template <std::size_t Rows>
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
        const simd::Vec first = former(pairs), second = latter(pairs);
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

/// Of 32 * Pairs channels from `dim` on. Sums of neighbouring channels lie in registers of their own.
template <std::size_t Rows, std::size_t Pairs>
HWY_NOINLINE void add_values(const std::byte* const* values, std::size_t dim, std::size_t begin,
                             std::size_t end, const float* weights, std::size_t weights_stride,
                             float* to, std::size_t to_stride, RowsAhead ahead) {
  namespace hn = simd::hn;
  using simd::lanes;
  const simd::Floats d;
  simd::Vec sums[Rows][2 * Pairs];
  simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    simd::unrolled<Pairs>([&](auto p) __attribute__((always_inline)) {
      hn::LoadInterleaved2(d, to + r * to_stride + dim + 2 * p * lanes, sums[r][2 * p],
                           sums[r][2 * p + 1]);
    });
  });
  for (std::size_t t = begin; t < end; ++t) {
    ahead.fetch();
    const auto* row = reinterpret_cast<const std::uint32_t*>(values[t]) + dim / 2;
    simd::Vec right[2 * Pairs];
    simd::unrolled<Pairs>([&](auto p) __attribute__((always_inline)) {
      const auto pairs = hn::LoadU(Words(), row + p * lanes);
      right[2 * p] = former(pairs);
      right[2 * p + 1] = latter(pairs);
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
      hn::StoreInterleaved2(sums[r][2 * p], sums[r][2 * p + 1], d,
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
/// \shape keys (tokens) rows of dim bf16; q (rows, dim), scores (rows, tokens), their rows so many apart
/// \pre rows <= most_queries, tokens % 16 == 0, dim % 32 == 0
inline void multiply_keys(std::size_t rows, const std::byte* const* keys, std::size_t tokens,
                          std::size_t dim, const float* q, std::size_t q_stride, float* scores,
                          std::size_t scores_stride, const RowsAhead& keys_ahead,
                          const RowsAhead& values_ahead) {
  detail::with_rows(rows, [&](auto count) {
    detail::multiply_keys<decltype(count)::value>(keys, tokens, dim, q, q_stride, scores,
                                                  scores_stride, keys_ahead, values_ahead);
  });
}

/// sums += weights values over tokens [begin, end). ahead(channel): what is fetched with the channels
/// from that on.
/// \shape values (end) rows of dim bf16; weights (rows, end), sums (rows, dim), their rows so many apart
/// \pre rows <= most_queries, dim % 64 == 0
template <class Ahead>
void add_values(std::size_t rows, const std::byte* const* values, std::size_t dim,
                std::size_t begin, std::size_t end, const float* weights,
                std::size_t weights_stride, float* sums, std::size_t sums_stride,
                const Ahead& ahead) {
  detail::with_rows(rows, [&](auto count) {
    constexpr std::size_t rows_here = decltype(count)::value, pairs = rows_here <= 6 ? 2 : 1;
    for (std::size_t i = 0; i < dim; i += 2 * pairs * simd::lanes) {
      detail::add_values<rows_here, pairs>(values, i, begin, end, weights, weights_stride, sums,
                                           sums_stride, ahead(i));
    }
  });
}

}  // namespace quire::attention::detail::bf16_rows
