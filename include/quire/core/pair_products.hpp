#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include <quire/core/byte_products.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/simd.hpp>

/// Products of pairs of bf16 with fp32 sums.
namespace quire::simd {

/// Whether dot_pairs() is one instruction.
#if defined(__AVX512BF16__) && HWY_TARGET <= HWY_AVX3
inline constexpr bool multiplies_pairs = true;
#else
inline constexpr bool multiplies_pairs = false;
#endif

/// sum + the two products of each word's bf16. Where the processor has the instruction, subnormal
/// numbers count as zeros; elsewhere the upper product is added before the lower one, each rounded once.
HWY_INLINE Vec dot_pairs(Vec sum, WordVec a, WordVec b) {
#if defined(__AVX512BF16__) && HWY_TARGET <= HWY_AVX3
  // Highway 1.0 has this operation with two sums only; as for the intrinsic: see dot_bytes().
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
#else
  const auto upper = [](WordVec x) __attribute__((always_inline)) {
    return hn::BitCast(Floats(),
                       hn::And(x, hn::Set(Words(), static_cast<std::int32_t>(0xffff0000u))));
  };
  const auto lower = [](WordVec x) __attribute__((always_inline)) {
    return hn::BitCast(Floats(), hn::ShiftLeft<16>(x));
  };
  return hn::MulAdd(lower(a), lower(b), hn::MulAdd(upper(a), upper(b), sum));
#endif
}

/// Rounds to bf16, to nearest, ties to even. \shape x, to (n)
inline void to_bf16(const float* x, std::size_t n, Bf16* to) {
  const hn::RebindToUnsigned<Floats> word;
  const hn::Rebind<std::uint16_t, Floats> half;
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const Vec v = load(x + i);
    const auto bits = hn::BitCast(word, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(word, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(word, 0x7fffu))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(word, 0x40u));
    const auto nan = hn::RebindMask(word, hn::IsNaN(v));
    hn::StoreU(hn::TruncateTo(half, hn::IfThenElse(nan, quiet, rounded)), half,
               reinterpret_cast<std::uint16_t*>(to) + i);
  }
  for (; i < n; ++i) to[i] = quire::to_bf16(x[i]);
}

}  // namespace quire::simd
