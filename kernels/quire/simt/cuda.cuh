// One file: the whole vocabulary of the layer in one place, as in emulator/operations.hpp beside it.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/float8.hpp>
#include <quire/simt/common.hpp>

namespace quire::simt {

// Where a thread is.
__device__ __forceinline__ unsigned thread() { return threadIdx.x; }
__device__ __forceinline__ unsigned lane() { return threadIdx.x % warp_lanes; }
__device__ __forceinline__ unsigned warp() { return threadIdx.x / warp_lanes; }
__device__ __forceinline__ Dim3 block() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
__device__ __forceinline__ Dim3 grid() { return {gridDim.x, gridDim.y, gridDim.z}; }

/// Waits for every thread of the block that has not ended.
__device__ __forceinline__ void sync() { __syncthreads(); }
/// Waits for the lanes of `mask` and orders their memory.
__device__ __forceinline__ void sync_warp(unsigned mask = full_mask) { __syncwarp(mask); }

namespace detail {
/// Moves a value of any size word by word.
template <class T, class Move>
__device__ __forceinline__ T by_words(const T& value, const Move& move) {
  static_assert(sizeof(T) % 4 == 0);
  union Both {
    T value;
    unsigned word[sizeof(T) / 4];
    __device__ Both(const T& v) : value(v) {}
  } both(value);
  QUIRE_UNROLL
  for (unsigned w = 0; w < sizeof(T) / 4; ++w) both.word[w] = move(both.word[w]);
  return both.value;
}
}  // namespace detail

/// The value that lane `source` of the warp passes. \pre `source` is in `mask` and runs
template <class T>
[[nodiscard]] __device__ __forceinline__ T shuffle(T value, unsigned source,
                                                   unsigned mask = full_mask) {
  return detail::by_words(
      value, [&](unsigned w) { return __shfl_sync(mask, w, static_cast<int>(source)); });
}
template <class T>
[[nodiscard]] __device__ __forceinline__ T shuffle_xor(T value, unsigned bits,
                                                       unsigned mask = full_mask) {
  return detail::by_words(
      value, [&](unsigned w) { return __shfl_xor_sync(mask, w, static_cast<int>(bits)); });
}
/// From `delta` lanes below; the lowest lanes keep their own.
template <class T>
[[nodiscard]] __device__ __forceinline__ T shuffle_up(T value, unsigned delta,
                                                      unsigned mask = full_mask) {
  return detail::by_words(value, [&](unsigned w) { return __shfl_up_sync(mask, w, delta); });
}
[[nodiscard]] __device__ __forceinline__ unsigned popcount(unsigned bits) {
  return static_cast<unsigned>(__popc(bits));
}
[[nodiscard]] __device__ __forceinline__ unsigned ballot(bool vote, unsigned mask = full_mask) {
  return __ballot_sync(mask, vote);
}

namespace detail {
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(1024) unsigned char quire_shared_memory[];
  return quire_shared_memory;
}
}  // namespace detail

/// An array in the block's shared memory.
template <class T>
class Shared {
 public:
  /// \pre offset: a multiple of 16, in bytes from the beginning of shared memory
  __device__ __forceinline__ Shared(std::size_t offset, std::size_t count)
      : data_(reinterpret_cast<T*>(detail::shared_memory() + offset)), count_(count) {}

  [[nodiscard]] __device__ __forceinline__ T load(std::size_t i) const { return data_[i]; }
  __device__ __forceinline__ void store(std::size_t i, T value) const {
    static_assert(sizeof(T) % 4 == 0, "shared memory is written in units of 4 bytes");
    data_[i] = value;
  }
  template <unsigned n>
  [[nodiscard]] __device__ __forceinline__ Vector<T, n> load_vector(std::size_t i) const {
    return *reinterpret_cast<const Vector<T, n>*>(data_ + i);
  }
  template <unsigned n>
  __device__ __forceinline__ void store_vector(std::size_t i, const Vector<T, n>& value) const {
    static_assert(sizeof(T) * n % 4 == 0, "shared memory is written in units of 4 bytes");
    *reinterpret_cast<Vector<T, n>*>(data_ + i) = value;
  }
  /// Adds; returns what was there before.
  __device__ __forceinline__ T atomic_add(std::size_t i, T value) const {
    return ::atomicAdd(data_ + i, value);
  }
  /// Begins to copy `n` elements, 16 bytes, to i; zeros where `from` is null.
  template <unsigned n>
  __device__ __forceinline__ void copy_async(std::size_t i, const T* from) const {
    static_assert(sizeof(T) * n == 16, "asynchronous copies move 16 bytes");
    const auto to = static_cast<unsigned>(__cvta_generic_to_shared(data_ + i));
    const int bytes = from == nullptr ? 0 : 16;
    // a copy of no bytes fills with zeros, yet wants an address
    const void* source = from == nullptr ? static_cast<const void*>(data_) : from;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(source)), "r"(bytes)
                 : "memory");
  }
  [[nodiscard]] __device__ __forceinline__ std::size_t size() const { return count_; }
  [[nodiscard]] __device__ __forceinline__ unsigned address(std::size_t i) const {
    return static_cast<unsigned>(__cvta_generic_to_shared(data_ + i));
  }

 private:
  T* data_;
  std::size_t count_;
};

/// Closes a group of asynchronous copies; wait_copies<n> waits until n groups are under way.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <unsigned newest>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}

namespace detail {
template <std::size_t bytes>
struct Word;
template <>
struct Word<2> {
  using type = unsigned short;
};
template <>
struct Word<4> {
  using type = unsigned;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};
}  // namespace detail

/// Loads from global memory that no kernel of this launch writes. \pre p is aligned to the vector
template <unsigned n, class T>
[[nodiscard]] __device__ __forceinline__ Vector<T, n> load_vector(const T* p) {
  using Word = typename detail::Word<sizeof(Vector<T, n>)>::type;
  union {
    Word word;
    Vector<T, n> vector;
  } both{__ldg(reinterpret_cast<const Word*>(p))};
  return both.vector;
}
/// The same past the first-level cache's interest: read once, by this block alone.
template <unsigned n, class T>
[[nodiscard]] __device__ __forceinline__ Vector<T, n> load_vector_once(const T* p) {
  using Word = typename detail::Word<sizeof(Vector<T, n>)>::type;
  union {
    Word word;
    Vector<T, n> vector;
  } both{};
  if constexpr (sizeof(Word) == 16) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(both.word.x), "=r"(both.word.y), "=r"(both.word.z), "=r"(both.word.w)
                 : "l"(__cvta_generic_to_global(p)));
  } else if constexpr (sizeof(Word) == 8) {
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
                 : "=r"(both.word.x), "=r"(both.word.y)
                 : "l"(__cvta_generic_to_global(p)));
  } else {
    both.word = __ldg(reinterpret_cast<const Word*>(p));
  }
  return both.vector;
}
template <unsigned n, class T>
__device__ __forceinline__ void store_vector(T* p, const Vector<T, n>& value) {
  *reinterpret_cast<Vector<T, n>*>(p) = value;
}
/// The same past the caches' interest: nothing reads it soon.
template <unsigned n, class T>
__device__ __forceinline__ void store_vector_once(T* p, const Vector<T, n>& value) {
  using Word = typename detail::Word<sizeof(Vector<T, n>)>::type;
  union {
    Vector<T, n> vector;
    Word word;
  } both{value};
  __stcs(reinterpret_cast<Word*>(p), both.word);
}

/// Adds in global memory; returns what was there before. T: int, unsigned, unsigned long long,
/// float.
template <class T>
__device__ __forceinline__ T atomic_add(T* p, T value) {
  return ::atomicAdd(p, value);
}

// Arithmetic.
[[nodiscard]] __device__ __forceinline__ float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
[[nodiscard]] __device__ __forceinline__ float log2(float x) {
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
[[nodiscard]] __device__ __forceinline__ float tanh(float x) { return ::tanhf(x); }
[[nodiscard]] __device__ __forceinline__ float rsqrt(float x) { return 1.0f / ::sqrtf(x); }
[[nodiscard]] __device__ __forceinline__ float max(float a, float b) { return ::fmaxf(a, b); }
[[nodiscard]] __device__ __forceinline__ float abs(float x) { return ::fabsf(x); }
[[nodiscard]] __device__ __forceinline__ float round_even(float x) { return ::rintf(x); }
[[nodiscard]] __device__ __forceinline__ float fma(float a, float b, float c) {
  return ::fmaf(a, b, c);
}
[[nodiscard]] __device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

/// Bytes of a and b (bytes 0-3, 4-7) picked by the nibbles of `selector`.
[[nodiscard]] __device__ __forceinline__ std::uint32_t pick_bytes(std::uint32_t a, std::uint32_t b,
                                                                  std::uint32_t selector) {
  return __byte_perm(a, b, selector);
}
template <class T, class From>
[[nodiscard]] __device__ __forceinline__ T bit_cast(const From& x) {
  static_assert(sizeof(T) == sizeof(From));
  union {
    From from;
    T to;
  } both{x};
  return both.to;
}
/// Two fp32 as a pair of halves, the first in the low bits; rounds to nearest even.
template <class Half>
[[nodiscard]] __device__ __forceinline__ std::uint32_t pack(float low, float high);
template <>
[[nodiscard]] __device__ __forceinline__ std::uint32_t pack<Bf16>(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <>
[[nodiscard]] __device__ __forceinline__ std::uint32_t pack<Fp16>(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
[[nodiscard]] __device__ __forceinline__ float widen(float x) { return x; }
[[nodiscard]] __device__ __forceinline__ float widen(Bf16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}
[[nodiscard]] __device__ __forceinline__ float widen(Fp16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
[[nodiscard]] __device__ __forceinline__ float widen(E5m2 x) {
  return widen(Fp16{static_cast<std::uint16_t>(x.bits << 8)});
}
[[nodiscard]] __device__ __forceinline__ float widen(E4m3 x) {
#if __CUDA_ARCH__ >= 890
  std::uint32_t pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(static_cast<std::uint16_t>(x.bits)));
  return widen(Fp16{static_cast<std::uint16_t>(pair)});
#else
  return to_float(x);
#endif
}
/// Four bytes, signed integers or 8-bit floats, as two pairs of Half, exactly. Bytes 0 and 1 make the
/// first pair.
template <class Half, class Byte>
[[nodiscard]] __device__ __forceinline__ Vector<std::uint32_t, 2> widen_four(std::uint32_t four) {
  constexpr bool brain = std::is_same_v<Half, Bf16>;
  Vector<std::uint32_t, 2> to;
  if constexpr (std::is_same_v<Byte, std::int8_t> && brain) {
    // under the exponent of 128, bits 0 to 6 add to it, and the sign's bit doubles it
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      const std::uint32_t w = __byte_perm(four, 0x43434343u, i == 0 ? 0x4140 : 0x4342);
      asm("fma.rn.bf16x2 %0, %1, %2, %3;"
          : "=r"(to.v[i])
          : "r"(w & 0xff80ff80u), "r"(0xbf80bf80u), "r"(w & 0xff7fff7fu));
    }
  } else if constexpr (std::is_same_v<Byte, std::int8_t>) {
    // plus 128 under the exponent of 1024
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      const std::uint32_t w =
          __byte_perm(four ^ 0x80808080u, 0x64646464u, i == 0 ? 0x4140 : 0x4342);
      asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(to.v[i]) : "r"(w), "r"(0x64806480u));
    }
  } else {
    std::uint32_t half[2];
    if constexpr (std::is_same_v<Byte, E5m2>) {
      half[0] = __byte_perm(four, 0, 0x1404);
      half[1] = __byte_perm(four, 0, 0x3424);
    } else {
#if __CUDA_ARCH__ >= 890
      asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(half[0]) : "h"(static_cast<std::uint16_t>(four)));
      asm("cvt.rn.f16x2.e4m3x2 %0, %1;"
          : "=r"(half[1])
          : "h"(static_cast<std::uint16_t>(four >> 16)));
#else
      // Exponent and mantissa one place lower make an fp16 256 times too small; 0x7f is NaN.
      QUIRE_UNROLL
      for (unsigned i = 0; i < 2; ++i) {
        const std::uint32_t w = __byte_perm(four, 0, i == 0 ? 0x1404 : 0x3424);
        const std::uint32_t size = w & 0x7f007f00u;
        asm("mul.rn.f16x2 %0, %1, %2;"
            : "=r"(half[i])
            : "r"(size >> 1 | (w & 0x80008000u)), "r"(0x5c005c00u));
        half[i] |= __vcmpeq2(size, 0x7f007f00u) & 0x7fff7fffu;
      }
#endif
    }
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      if constexpr (brain) {
        // few bits: the upper half of an fp32 has them all
        const float low = widen(Fp16{static_cast<std::uint16_t>(half[i])});
        const float high = widen(Fp16{static_cast<std::uint16_t>(half[i] >> 16)});
        to.v[i] = __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
      } else {
        to.v[i] = half[i];
      }
    }
  }
  return to;
}
/// Four bytes, 4-bit codes 0 to 15, less 8, as two pairs of Half, exactly. Bytes 0 and 1 make the first
/// pair.
template <class Half>
[[nodiscard]] __device__ __forceinline__ Vector<std::uint32_t, 2> widen_codes(std::uint32_t four) {
  constexpr bool brain = std::is_same_v<Half, Bf16>;
  Vector<std::uint32_t, 2> to;
  QUIRE_UNROLL
  for (unsigned i = 0; i < 2; ++i) {
    // under the exponent of 128, or of 1024, a code adds to it
    const std::uint32_t w =
        __byte_perm(four, brain ? 0x43434343u : 0x64646464u, i == 0 ? 0x4140 : 0x4342);
    if constexpr (brain) {
      asm("fma.rn.bf16x2 %0, %1, %2, %3;"
          : "=r"(to.v[i])
          : "r"(w), "r"(0x3f803f80u), "r"(0xc308c308u));  // times 1, less 136
    } else {
      asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(to.v[i]) : "r"(w), "r"(0x64086408u));  // less 1032
    }
  }
  return to;
}
template <class T>
[[nodiscard]] __device__ __forceinline__ T narrow(float x);
template <>
[[nodiscard]] __device__ __forceinline__ E4m3 narrow<E4m3>(float x) {
#if __CUDA_ARCH__ >= 890
  std::uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return {static_cast<std::uint8_t>(pair)};
#else
  return to_e4m3(x);
#endif
}
template <>
[[nodiscard]] __device__ __forceinline__ E5m2 narrow<E5m2>(float x) {
#if __CUDA_ARCH__ >= 890
  std::uint16_t pair;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return {static_cast<std::uint8_t>(pair)};
#else
  return to_e5m2(x);
#endif
}
template <>
[[nodiscard]] __device__ __forceinline__ float narrow<float>(float x) {
  return x;
}
template <>
[[nodiscard]] __device__ __forceinline__ Bf16 narrow<Bf16>(float x) {
  return {static_cast<std::uint16_t>(pack<Bf16>(x, 0.0f))};
}
template <>
[[nodiscard]] __device__ __forceinline__ Fp16 narrow<Fp16>(float x) {
  return {static_cast<std::uint16_t>(pack<Fp16>(x, 0.0f))};
}

/// Pairs of Half: a b + c, rounded once to nearest even.
template <class Half>
[[nodiscard]] __device__ __forceinline__ std::uint32_t multiply_add_pairs(std::uint32_t a,
                                                                          std::uint32_t b,
                                                                          std::uint32_t c) {
  std::uint32_t to;
  if constexpr (std::is_same_v<Half, Bf16>) {
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(to) : "r"(a), "r"(b), "r"(c));
  } else {
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(to) : "r"(a), "r"(b), "r"(c));
  }
  return to;
}

/// d += a b for a (16, 16) rows, b (16, 8) columns of Half, d (16, 8) fp32, in the lane layout of
/// fragments.hpp. \pre the whole warp calls
template <class Half>
__device__ __forceinline__ void multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]);
template <>
__device__ __forceinline__ void multiply_add<Bf16>(float (&d)[4], const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void multiply_add<Fp16>(float (&d)[4], const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Transposes an 8 x 8 matrix of halves across the warp: lane l holds columns l % 4 * 2 and the next
/// of row l / 4, before and after.
[[nodiscard]] __device__ __forceinline__ std::uint32_t transpose_8x8(std::uint32_t pair) {
  std::uint32_t out;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(pair));
  return out;
}
/// Loads four 8 x 8 matrices of halves: lane l names row l % 8 of matrix l / 8, 16 bytes at element
/// `i`; register m then holds this lane's pair of matrix m, of its transpose with `transposed`.
template <bool transposed>
__device__ __forceinline__ void load_matrices(std::uint32_t (&to)[4],
                                              const Shared<std::uint32_t>& from, std::size_t i) {
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from.address(i))
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from.address(i))
                 : "memory");
  }
}

/// Order of launches.
struct Stream {
  cudaStream_t handle = nullptr;
};

/// \errors state, naming the call, the kernel and the step
inline void check(cudaError_t status, std::string_view call, std::string_view kernel) {
  if (status == cudaSuccess) return;
  throw device_error(call, kernel, cudaGetErrorString(status));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads, blocks_per_multiprocessor<Kernel>())
    entry(const __grid_constant__ typename Kernel::Params params) {
  Kernel::run(params);
}

/// Runs a kernel on every block of the grid. \errors state, naming the kernel, when it cannot start
template <KernelType Kernel>
void launch(const LaunchShape& shape, const typename Kernel::Params& params, Stream stream = {}) {
  if (shape.shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          "cudaFuncSetAttribute", Kernel::name);
  }
  entry<Kernel><<<dim3(shape.grid.x, shape.grid.y, shape.grid.z), Kernel::threads,
                  shape.shared_bytes, stream.handle>>>(params);
  check(cudaGetLastError(), "launch", Kernel::name);
}

}  // namespace quire::simt
