#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

// Highway compiles for the one instruction set that the compiler flags name: no dispatch at run
// time, nothing to link. AES is no part of what we use, so it must not gate AVX2; vectors of
// unknown length would not fit the register tiles.
#if !defined(HWY_COMPILE_ONLY_STATIC)
#define HWY_COMPILE_ONLY_STATIC
#endif
#if !defined(HWY_DISABLE_PCLMUL_AES)
#define HWY_DISABLE_PCLMUL_AES
#endif
#if !defined(HWY_DISABLED_TARGETS)
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#endif
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <quire/core/float16.hpp>

/// Vectors of fp32, at most 16 wide, and the arithmetic that kernels share.
/// Results are the same on every run and every thread count of one build; builds for different
/// instruction sets may differ in the last bits. All units of a program take the same -march.
namespace quire::simd {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using Vec = hn::Vec<Floats>;

inline constexpr std::size_t lanes = hn::MaxLanes(Floats());
/// Register tile of the products: 6 rows by `tile_vectors` vectors leave room for the operands.
inline constexpr std::size_t tile_rows = 6;
inline constexpr std::size_t tile_vectors = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 4 : 2;
inline constexpr std::size_t tile_width = tile_vectors * lanes;

[[nodiscard]] constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

namespace detail {
template <std::size_t... I, class F>
HWY_INLINE void unroll(std::index_sequence<I...>, const F& f) {
  (f(std::integral_constant<std::size_t, I>{}), ...);
}
}  // namespace detail

/// Calls f(0), ..., f(N - 1) with compile-time indices: g++ keeps an array of vectors in registers
/// only when every index is a constant.
template <std::size_t N, class F>
HWY_INLINE void unrolled(const F& f) {
  detail::unroll(std::make_index_sequence<N>{}, f);
}

/// Fetches a line that is needed in a while, into the second-level cache: it takes more at a time than
/// the first, whose prefetch is hwy::Prefetch.
HWY_INLINE void fetch_ahead(const void* p) { __builtin_prefetch(p, 0, 2); }

/// Whether a loop that does little with each line of a long stream through memory is faster when it fetches
/// lines ahead. Not on Zen 4: the processor does it by itself, and what the loop fetches takes places of the
/// loads that are under way. One row times weights from memory there, one thread, in GB/s without and with
/// it, of 24 that are read: bf16 27 and 19, its pairs 24 to 28 and 17, w8a8 23 to 27 and 16 to 18, q8_0 23 and
/// 17. Loops that do more with a line (sparse_24, q4_0, mxfp4) lose 10 to 20 % without: they always fetch.
#if defined(__SSE4A__) && defined(__AVX512F__) && !defined(__AVXVNNI__)  // AMD, Zen 4
inline constexpr bool fetches_streams = false;
#else
inline constexpr bool fetches_streams = true;
#endif
/// How far ahead loops fetch that unpack each line of a stream. \unit bytes. On Zen 4 one row times 4-bit
/// weights from memory, one thread, of 26 GB/s that are read: q4_0 16 at 4,096 bytes and 20 from 8,192 to
/// 65,536; int4_g128 18 and 23, mxfp4 16 and 21, nvfp4 15 and 18. Nearer lines take the places of the loads
/// that are under way, as above.
inline constexpr std::size_t unpacking_reach = fetches_streams ? 4096 : 8192;
HWY_INLINE void fetch_of_stream(const void* p) {
  if constexpr (fetches_streams) fetch_ahead(p);
}

/// Cache lines that come next, some of which each step of a loop fetches.
struct LinesAhead {
  const std::byte* next;
  std::size_t each_step;
  HWY_INLINE void fetch() {
    for (std::size_t l = 0; l < each_step; ++l, next += 64) fetch_ahead(next);
  }
};

HWY_INLINE Vec load(const float* p) { return hn::LoadU(Floats(), p); }
HWY_INLINE Vec load(const Bf16* p) {
  const hn::Rebind<std::uint16_t, Floats> narrow;
  const hn::Rebind<std::uint32_t, Floats> wide;
  const auto bits = hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
}
HWY_INLINE Vec load(const Fp16* p) {
  const hn::Rebind<hwy::float16_t, Floats> narrow;
  return hn::PromoteTo(Floats(), hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(p)));
}
HWY_INLINE void store(Vec v, float* p) { hn::StoreU(v, Floats(), p); }
HWY_INLINE Vec set(float x) { return hn::Set(Floats(), x); }
HWY_INLINE float sum(Vec v) { return hn::GetLane(hn::SumOfLanes(Floats(), v)); }
HWY_INLINE float max(Vec v) { return hn::GetLane(hn::MaxOfLanes(Floats(), v)); }

namespace detail {
/// What exponents above the range are taken for; NaN stays NaN, for which targets' minima differ.
HWY_INLINE Vec within_range(Vec x) {
  return hn::IfThenElse(hn::Gt(x, set(200.0f)), set(200.0f), x);
}
/// 2^(n + f) for whole n and f in [-1/2, 1/2]; 0 where x, of which they are made, is below `low`; infinity
/// above the range.
/// \source polynomial: Moshier, Cephes, exp2f.
HWY_INLINE Vec exp2_of_parts(Vec n, Vec f, Vec x, float low) {
  Vec p = set(1.535336188319500e-4f);
  p = hn::MulAdd(p, f, set(1.339887440266574e-3f));
  p = hn::MulAdd(p, f, set(9.618437357674640e-3f));
  p = hn::MulAdd(p, f, set(5.550332471162809e-2f));
  p = hn::MulAdd(p, f, set(2.402264791363012e-1f));
  p = hn::MulAdd(p, f, set(6.931472028550421e-1f));
  p = hn::MulAdd(p, f, set(1.0f));
#if HWY_TARGET <= HWY_AVX3
  // One instruction, which Highway has no name for, scales and knows both ends of the range.
  const auto some = _mm512_cmp_ps_mask(x.raw, set(low).raw, _CMP_NLT_UQ);
  return Vec{_mm512_maskz_scalef_ps(some, p.raw, n.raw)};
#else
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  // In two steps, since 2^128 is none.
  const Vec most = hn::Min(hn::Max(n, set(-126.0f)), set(129.0f));
  const auto whole = hn::ConvertTo(di, most), half = hn::ShiftRight<1>(whole);
  const auto power = [&](auto of) {
    return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(of, hn::Set(di, 127))));
  };
  const Vec y = hn::Mul(hn::Mul(p, power(half)), power(hn::Sub(whole, half)));
  return hn::IfThenElse(hn::Lt(x, set(low)), hn::Zero(d), y);
#endif
}
}  // namespace detail

/// 2^x; 0 below 2^-126, infinity above the range, NaN stays NaN. Relative error under 2e-7.
HWY_INLINE Vec exp2(Vec x) {
  x = detail::within_range(x);
  const Vec n = hn::Round(x);
  return detail::exp2_of_parts(n, hn::Sub(x, n), x, -126.0f);
}

/// e^x, with the argument reduced in two steps so that large |x| keep their precision.
HWY_INLINE Vec exp(Vec x) {
  constexpr float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  x = detail::within_range(x);
  const Vec n = hn::Round(hn::Mul(x, set(log2e)));
  Vec r = hn::NegMulAdd(n, set(ln2_high), x);
  r = hn::NegMulAdd(n, set(ln2_low), r);
  return detail::exp2_of_parts(n, hn::Mul(r, set(log2e)), x, -87.3f);
}

/// 1 / (1 + e^-x).
HWY_INLINE Vec sigmoid(Vec x) { return hn::Div(set(1.0f), hn::Add(set(1.0f), exp(hn::Neg(x)))); }

/// Hyperbolic tangent to about 1e-7 absolute.
HWY_INLINE Vec tanh(Vec x) {
  const Vec e = exp(hn::Add(x, x));
  return hn::Sub(set(1.0f), hn::Div(set(2.0f), hn::Add(e, set(1.0f))));
}

/// The squares of 4 x 4 values that four vectors' blocks of 128 bits hold, each transposed. \pre lanes >= 4
HWY_INLINE void transpose_in_blocks([[maybe_unused]] Vec (&v)[4]) {
#if HWY_TARGET != HWY_SCALAR
  const Floats d;
  const hn::Repartition<double, Floats> pairs;
  const auto pairs_of = [&](Vec x) __attribute__((always_inline)) { return hn::BitCast(pairs, x); };
  const Vec x = hn::InterleaveLower(d, v[0], v[1]), y = hn::InterleaveUpper(d, v[0], v[1]);
  const Vec z = hn::InterleaveLower(d, v[2], v[3]), w = hn::InterleaveUpper(d, v[2], v[3]);
  v[0] = hn::BitCast(d, hn::InterleaveLower(pairs, pairs_of(x), pairs_of(z)));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(pairs, pairs_of(x), pairs_of(z)));
  v[2] = hn::BitCast(d, hn::InterleaveLower(pairs, pairs_of(y), pairs_of(w)));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(pairs, pairs_of(y), pairs_of(w)));
#endif
}

/// What `op` makes of all lanes of each of four vectors, in the same order for each; so many are made together
/// in the time of one and a half. \shape to (4)
template <class Op>
HWY_INLINE void fold_lanes(Vec (&v)[4], const Op& op, float* to) {
#if HWY_TARGET == HWY_SCALAR
  (void)op;
  for (std::size_t i = 0; i < 4; ++i) to[i] = hn::GetLane(v[i]);
#else
  const Floats d;
  transpose_in_blocks(v);
  auto x = op(op(v[0], v[1]), op(v[2], v[3]));
  if constexpr (lanes == 16) x = op(x, hn::ConcatLowerUpper(d, x, x));
  if constexpr (lanes >= 8) x = op(x, hn::SwapAdjacentBlocks(x));
  float each[lanes];
  store(x, each);
  std::copy_n(each, 4, to);
#endif
}

/// Four vectors as a square of blocks of 128 bits, transposed. \pre lanes == 16
HWY_INLINE void transpose_blocks([[maybe_unused]] Vec (&v)[4]) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (lanes == 16) {
#if HWY_TARGET <= HWY_AVX3
    // Highway has no shuffle of two vectors' blocks; without it, each takes a blend more. g++ 12 warns
    // of the one without a mask, and compiles this one as it.
    const auto even = [](Vec x, Vec y) __attribute__((always_inline)) {
      return Vec{_mm512_maskz_shuffle_f32x4(0xffff, x.raw, y.raw, 0x88)};
    };
    const auto odd = [](Vec x, Vec y) __attribute__((always_inline)) {
      return Vec{_mm512_maskz_shuffle_f32x4(0xffff, x.raw, y.raw, 0xdd)};
    };
    const Vec x = even(v[0], v[1]), y = even(v[2], v[3]);
    const Vec z = odd(v[0], v[1]), w = odd(v[2], v[3]);
    v[0] = even(x, y);
    v[1] = even(z, w);
    v[2] = odd(x, y);
    v[3] = odd(z, w);
#else
    const Floats d;
    const Vec even_low = hn::ConcatLowerLower(d, v[2], v[0]);
    const Vec odd_low = hn::ConcatLowerLower(d, v[3], v[1]);
    const Vec even_high = hn::ConcatUpperUpper(d, v[2], v[0]);
    const Vec odd_high = hn::ConcatUpperUpper(d, v[3], v[1]);
    v[0] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd_low), even_low);
    v[1] = hn::OddEvenBlocks(odd_low, hn::SwapAdjacentBlocks(even_low));
    v[2] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd_high), even_high);
    v[3] = hn::OddEvenBlocks(odd_high, hn::SwapAdjacentBlocks(even_high));
#endif
  }
#endif
}

/// Transposes a square of lanes x lanes values held in registers.
HWY_INLINE void transpose([[maybe_unused]] Vec (&v)[lanes]) {
#if HWY_TARGET != HWY_SCALAR  // one lane is its own transpose
  if constexpr (lanes >= 4) {
    // Block b of v[4a + j] then holds column 4b + j of rows 4a ... 4a + 3.
    unrolled<lanes / 4>([&](auto group) __attribute__((always_inline)) {
      constexpr std::size_t a = decltype(group)::value * 4;
      Vec rows[4] = {v[a], v[a + 1], v[a + 2], v[a + 3]};
      transpose_in_blocks(rows);
      unrolled<4>([&](auto j) __attribute__((always_inline)) { v[a + j] = rows[j]; });
    });
  }
  if constexpr (lanes == 8) {
    const Floats d;
    unrolled<4>([&](auto column) __attribute__((always_inline)) {
      constexpr std::size_t j = decltype(column)::value;
      const Vec a = v[j], b = v[4 + j];
      v[j] = hn::ConcatLowerLower(d, b, a);
      v[4 + j] = hn::ConcatUpperUpper(d, b, a);
    });
  } else if constexpr (lanes == 16) {
    unrolled<4>([&](auto column) __attribute__((always_inline)) {
      constexpr std::size_t j = decltype(column)::value;
      Vec blocks[4] = {v[j], v[4 + j], v[8 + j], v[12 + j]};
      transpose_blocks(blocks);
      unrolled<4>([&](auto b) __attribute__((always_inline)) { v[4 * b + j] = blocks[b]; });
    });
  }
#endif
}

/// c[r][j] = (add ? c[r][j] : 0) + sum over k in [begin, end) of a[r][k] * b(k, v)[lane], with
/// j = v * lanes + lane. b.start(k), where there is one, is called before what b(k, v) gives is asked for. One accumulator per element, k ascending: an element's bits depend on its
/// own row and column alone, not on the tile it was computed in.
/// \shape a (Rows, >= end), row stride a_stride; c (Rows, Vectors * lanes), row stride c_stride
template <std::size_t Rows, std::size_t Vectors, class B>
HWY_NOINLINE void multiply_tile(std::size_t begin, std::size_t end, const float* HWY_RESTRICT a,
                                std::size_t a_stride, B b, bool add, float* HWY_RESTRICT c,
                                std::size_t c_stride) {
  Vec sums[Rows * Vectors];
  unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      sums[r * Vectors + v] = add ? load(c + r * c_stride + v * lanes) : hn::Zero(Floats());
    });
  });
  for (std::size_t k = begin; k < end; ++k) {
    Vec right[Vectors];
    if constexpr (requires { b.start(k); }) b.start(k);
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) { right[v] = b(k, v); });
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const Vec left = set(a[r * a_stride + k]);
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        sums[r * Vectors + v] = hn::MulAdd(left, right[v], sums[r * Vectors + v]);
      });
    });
  }
  unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
    unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
      store(sums[r * Vectors + v], c + r * c_stride + v * lanes);
    });
  });
}

/// Rows of a tile of half its vectors: as many sums in as many registers, and each right operand is used
/// more often, but left ones are loaded twice. For exactly so many rows, which `tile_rows` leaves a rest of.
inline constexpr std::size_t tall_tile_rows = 8;
/// The most rows for which a right operand is asked for once.
inline constexpr std::size_t rows_at_once = tile_vectors == 4 ? tall_tile_rows : tile_rows;

namespace detail {
/// The right operand's vectors from one on.
template <class B, std::size_t First>
struct VectorsFrom {
  B b;
  HWY_INLINE void start(std::size_t k) requires requires { b.start(k); }
  { b.start(k); }
  template <class V>
  HWY_INLINE Vec operator()(std::size_t k, V) {
    return b(k, std::integral_constant<std::size_t, First + V::value>{});
  }
};
}  // namespace detail

/// multiply_tile over any number of rows, in tiles of at most `tile_rows`.
template <std::size_t Vectors, class B>
void multiply_rows(std::size_t rows, std::size_t begin, std::size_t end, const float* a,
                   std::size_t a_stride, B b, bool add, float* c, std::size_t c_stride) {
  if constexpr (Vectors == 4) {
    if (rows == tall_tile_rows) {
      multiply_tile<tall_tile_rows, 2>(begin, end, a, a_stride, b, add, c, c_stride);
      return multiply_tile<tall_tile_rows, 2>(begin, end, a, a_stride, detail::VectorsFrom<B, 2>{b},
                                              add, c + 2 * lanes, c_stride);
    }
  }
  for (; rows >= tile_rows; rows -= tile_rows) {
    multiply_tile<tile_rows, Vectors>(begin, end, a, a_stride, b, add, c, c_stride);
    a += tile_rows * a_stride;
    c += tile_rows * c_stride;
  }
  switch (rows) {
    case 5:
      return multiply_tile<5, Vectors>(begin, end, a, a_stride, b, add, c, c_stride);
    case 4:
      return multiply_tile<4, Vectors>(begin, end, a, a_stride, b, add, c, c_stride);
    case 3:
      return multiply_tile<3, Vectors>(begin, end, a, a_stride, b, add, c, c_stride);
    case 2:
      return multiply_tile<2, Vectors>(begin, end, a, a_stride, b, add, c, c_stride);
    case 1:
      return multiply_tile<1, Vectors>(begin, end, a, a_stride, b, add, c, c_stride);
    default:
      return;
  }
}

}  // namespace quire::simd
