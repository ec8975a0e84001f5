#pragma once

#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include <quire/kernels/block_primitives.cuh>

namespace quire::kernels {

/// The primitives from CUB, for nvcc.
template <unsigned width>
struct CubBlock {
  static constexpr unsigned threads = width;
  using FloatSum = cub::BlockReduce<float, threads, cub::BLOCK_REDUCE_WARP_REDUCTIONS>;
  using CountSum = cub::BlockReduce<unsigned long long, threads>;
  using Scan = cub::BlockScan<unsigned long long, threads>;
  using Best = cub::BlockReduce<Largest, threads>;
  union Storage {
    typename FloatSum::TempStorage float_sum;
    typename CountSum::TempStorage count_sum;
    typename Scan::TempStorage scan;
    typename Best::TempStorage best;
    unsigned long long count;
    float value;
    Largest largest;
  };
  static constexpr std::size_t bytes = (sizeof(Storage) + 15) / 16 * 16;
  std::size_t offset;

  __device__ __forceinline__ Storage& storage() const {
    return *reinterpret_cast<Storage*>(simt::detail::shared_memory() + offset);
  }
  __device__ __forceinline__ float sum(float x) const {
    simt::sync();
    const float all = FloatSum(storage().float_sum).Sum(x);
    simt::sync();
    if (simt::thread() == 0) storage().value = all;
    simt::sync();
    return storage().value;
  }
  __device__ __forceinline__ unsigned long long sum(unsigned long long x) const {
    simt::sync();
    const unsigned long long all = CountSum(storage().count_sum).Sum(x);
    simt::sync();
    if (simt::thread() == 0) storage().count = all;
    simt::sync();
    return storage().count;
  }
  __device__ __forceinline__ unsigned long long sum_before(unsigned long long x) const {
    simt::sync();
    unsigned long long before;
    Scan(storage().scan).ExclusiveSum(x, before);
    return before;
  }
  __device__ __forceinline__ Largest largest(Largest x) const {
    simt::sync();
    const Largest all = Best(storage().best).Reduce(x, better);
    simt::sync();
    if (simt::thread() == 0) storage().largest = all;
    simt::sync();
    return storage().largest;
  }
};
static_assert(BlockPrimitives<CubBlock<256>>);

}  // namespace quire::kernels
