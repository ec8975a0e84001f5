#pragma once

#include <cstdint>

#include <quire/simt/simt.cuh>

/// Small kernels that use one part of the layer each.
namespace quire::simt::testing {

/// Sum of a block's numbers through shared memory. `broken` leaves out the barrier.
template <unsigned width, bool broken = false>
struct BlockSum {
  static constexpr std::string_view name = "block_sum";
  static constexpr unsigned threads = width;
  struct Params {
    const float* in;  // \shape (blocks, threads)
    float* out;       // \shape (blocks)
  };
  static constexpr std::size_t shared_bytes = threads / warp_lanes * sizeof(float);

  QUIRE_DEVICE static void run(const Params& p) {
    float x = p.in[block().x * threads + thread()];
    for (unsigned bits = 16; bits > 0; bits /= 2) x += shuffle_xor(x, bits);
    const Shared<float> part(0, threads / warp_lanes);
    if (lane() == 0) part.store(warp(), x);
    if constexpr (!broken) sync();
    if (thread() == 0) {
      float sum = 0;
      for (unsigned w = 0; w < threads / warp_lanes; ++w) sum += part.load(w);
      p.out[block().x] = sum;
    }
  }
};

/// Passes words round each warp through shared memory, twice. `broken` leaves out the n-th barrier.
template <int broken = 0>
struct WarpRing {
  static constexpr std::string_view name = "warp_ring";
  static constexpr unsigned threads = 64;
  struct Params {
    unsigned* out;  // \shape (threads)
  };
  static constexpr std::size_t shared_bytes = threads * sizeof(unsigned);

  QUIRE_DEVICE static void run(const Params& p) {
    const Shared<unsigned> ring(0, threads);
    unsigned value = thread();
    for (int round = 0; round < 2; ++round) {
      ring.store(thread(), value);
      if constexpr (broken != 1) sync_warp();
      value = ring.load(warp() * warp_lanes + (lane() + 1) % warp_lanes);
      if constexpr (broken != 2) sync_warp();
    }
    p.out[thread()] = value;
  }
};

}  // namespace quire::simt::testing
