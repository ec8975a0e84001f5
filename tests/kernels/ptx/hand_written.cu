// Two kernels in plain CUDA, for comparison with the same two through the layer (layered.cu).
#include <cstddef>
#include <cstdint>

struct Move {
  std::uint32_t from, to;
};
struct CopyParams {
  const std::byte* source;
  std::byte* target;
  std::size_t block_bytes;
  const Move* moves;
  std::size_t stride;
};
extern "C" __global__ void __launch_bounds__(256, 1)
    copy_blocks(const __grid_constant__ CopyParams p) {
  const auto parts = static_cast<unsigned>((p.block_bytes + 16383) / 16384);
  const Move move = p.moves[blockIdx.x / parts];
  const std::byte* from = p.source + move.from * p.stride;
  std::byte* to = p.target + move.to * p.stride;
  const std::size_t begin = blockIdx.x % parts * std::size_t{256 * 4 * 16} + threadIdx.x * 16;
  uint4 v[4];
#pragma unroll
  for (unsigned u = 0; u < 4; ++u) {
    const std::size_t at = begin + u * 256 * 16;
    if (at < p.block_bytes) {
      asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v[u].x), "=r"(v[u].y), "=r"(v[u].z), "=r"(v[u].w)
                   : "l"(__cvta_generic_to_global(from + at)));
    }
  }
#pragma unroll
  for (unsigned u = 0; u < 4; ++u) {
    const std::size_t at = begin + u * 256 * 16;
    if (at < p.block_bytes) __stcs(reinterpret_cast<uint4*>(to + at), v[u]);
  }
}

struct SumParams {
  const float* in;
  float* out;
};
extern "C" __global__ void __launch_bounds__(256, 1)
    block_sum(const __grid_constant__ SumParams p) {
  extern __shared__ __align__(1024) unsigned char memory[];
  float* part = reinterpret_cast<float*>(memory);
  float x = p.in[blockIdx.x * 256 + threadIdx.x];
  for (unsigned bits = 16; bits > 0; bits /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, static_cast<int>(bits));
  }
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (unsigned w = 0; w < 8; ++w) sum += part[w];
    p.out[blockIdx.x] = sum;
  }
}
