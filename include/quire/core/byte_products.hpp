#pragma once

#include <cstdint>

#include <quire/core/simd.hpp>

/// Products of bytes with exact 32-bit sums: the same on every instruction set.
namespace quire::simd {

using Words = hn::RebindToSigned<Floats>;
using WordVec = hn::Vec<Words>;

/// Whether dot_bytes() is one instruction.
#if defined(__AVX512VNNI__) && HWY_TARGET <= HWY_AVX3
inline constexpr bool multiplies_bytes = true;
#else
inline constexpr bool multiplies_bytes = false;
#endif

/// sum + the four products of each word's bytes, unsigned ones of a with signed ones of b.
/// Highway 1.0 has no such operation; its nearest way, widening to 16 bits, takes eight instructions in
/// place of one and is what processors without the instruction get.
HWY_INLINE WordVec dot_bytes(WordVec sum, WordVec a, WordVec b) {
#if defined(__AVX512VNNI__) && HWY_TARGET <= HWY_AVX3
  // The intrinsic's own vector type makes g++ 12 copy the sum to and fro, which takes twice the time.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
#elif HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  const hn::Repartition<std::int16_t, Words> half;
  const hn::Repartition<std::uint16_t, Words> unsigned_half;
  const auto a16 = hn::BitCast(unsigned_half, a);
  const auto b16 = hn::BitCast(half, b);
  const auto even = hn::BitCast(half, hn::And(a16, hn::Set(unsigned_half, 0xff)));
  const auto odd = hn::BitCast(half, hn::ShiftRight<8>(a16));
  WordVec unused = hn::Zero(Words());  // on this processor sums stay in their lane
  sum = hn::ReorderWidenMulAccumulate(Words(), even, hn::ShiftRight<8>(hn::ShiftLeft<8>(b16)), sum,
                                      unused);
  return hn::ReorderWidenMulAccumulate(Words(), odd, hn::ShiftRight<8>(b16), sum, unused);
#else
  const hn::RebindToUnsigned<Words> bits;
  unrolled<4>([&](auto i) __attribute__((always_inline)) {
    constexpr int at = 8 * static_cast<int>(decltype(i)::value);
    const auto x = hn::And(hn::ShiftRight<at>(hn::BitCast(bits, a)), hn::Set(bits, 0xff));
    const auto y = hn::ShiftRight<24>(hn::ShiftLeft<24 - at>(b));
    sum = hn::Add(sum, hn::Mul(hn::BitCast(Words(), x), y));
  });
  return sum;
#endif
}

}  // namespace quire::simd
