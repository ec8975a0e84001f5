#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// The largest of some numbers and the first place that has it.
struct Largest {
  float value;
  unsigned index;
};
/// The better of two: larger, or equal and earlier.
QUIRE_DEVICE Largest better(Largest a, Largest b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

/// Sums and scans over a block of threads.
///
/// Every thread of the block calls; reductions return the result to all of them. Each call begins
/// and ends with the block in step, and uses `bytes` of shared memory at the offset it was given.
/// - threads: of the block.
/// - sum(float): in a fixed order, so that its bits do not depend on the schedule.
/// - sum(unsigned long long), sum_before (exclusive prefix sum in order of threads).
/// - largest(Largest): the best by better().
template <class P>
concept BlockPrimitives = requires(const P& p, float x, unsigned long long n, Largest l) {
  { P::threads } -> std::convertible_to<unsigned>;
  { P::bytes } -> std::convertible_to<std::size_t>;
  { p.sum(x) } -> std::same_as<float>;
  { p.sum(n) } -> std::same_as<unsigned long long>;
  { p.sum_before(n) } -> std::same_as<unsigned long long>;
  { p.largest(l) } -> std::same_as<Largest>;
};

/// The primitives from shuffles and one exchange between warps; what the emulator runs.
template <unsigned width>
struct PortableBlock {
  static constexpr unsigned threads = width;
  static constexpr unsigned warps = threads / simt::warp_lanes;
  static constexpr std::size_t bytes = (warps * 8 + 15) / 16 * 16;
  std::size_t offset;

  QUIRE_DEVICE float sum(float x) const {
    QUIRE_UNROLL
    for (unsigned bits = 16; bits > 0; bits /= 2) x += simt::shuffle_xor(x, bits);
    const simt::Shared<float> part(offset, warps);
    simt::sync();
    if (simt::lane() == 0) part.store(simt::warp(), x);
    simt::sync();
    float all = 0;
    QUIRE_UNROLL
    for (unsigned w = 0; w < warps; ++w) all += part.load(w);
    return all;
  }
  QUIRE_DEVICE unsigned long long sum(unsigned long long x) const {
    QUIRE_UNROLL
    for (unsigned bits = 16; bits > 0; bits /= 2) x += simt::shuffle_xor(x, bits);
    const simt::Shared<unsigned long long> part(offset, warps);
    simt::sync();
    if (simt::lane() == 0) part.store(simt::warp(), x);
    simt::sync();
    unsigned long long all = 0;
    QUIRE_UNROLL
    for (unsigned w = 0; w < warps; ++w) all += part.load(w);
    return all;
  }
  QUIRE_DEVICE unsigned long long sum_before(unsigned long long x) const {
    unsigned long long upto = x;
    QUIRE_UNROLL
    for (unsigned delta = 1; delta < simt::warp_lanes; delta *= 2) {
      const unsigned long long below = simt::shuffle_up(upto, delta);
      if (simt::lane() >= delta) upto += below;
    }
    const simt::Shared<unsigned long long> part(offset, warps);
    simt::sync();
    if (simt::lane() == simt::warp_lanes - 1) part.store(simt::warp(), upto);
    simt::sync();
    unsigned long long before = 0;
    QUIRE_UNROLL
    for (unsigned w = 0; w < warps; ++w) {
      if (w < simt::warp()) before += part.load(w);
    }
    return before + upto - x;
  }
  QUIRE_DEVICE Largest largest(Largest x) const {
    QUIRE_UNROLL
    for (unsigned bits = 16; bits > 0; bits /= 2) x = better(x, simt::shuffle_xor(x, bits));
    const simt::Shared<Largest> part(offset, warps);
    simt::sync();
    if (simt::lane() == 0) part.store(simt::warp(), x);
    simt::sync();
    QUIRE_UNROLL
    for (unsigned w = 0; w < warps; ++w) x = better(x, part.load(w));
    return x;
  }
};
static_assert(BlockPrimitives<PortableBlock<256>>);

}  // namespace quire::kernels
