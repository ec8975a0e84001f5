#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <quire/simt/async_layout.hpp>
#include <quire/simt/cuda.cuh>
#include <quire/simt/device_array.cuh>

/// Compiled for another architecture than sm_90a, these functions stop the kernel: a host asks
/// has_warpgroups() first.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define QUIRE_WARPGROUP_ASM(...) asm volatile(__VA_ARGS__)
#else
#define QUIRE_WARPGROUP_ASM(...) __trap()
#endif

namespace quire::simt {

namespace detail {
/// Whether what runs on this device was compiled for warpgroups.
struct HasWarpgroups {
  struct Params {
    unsigned* out;  // \shape (1)
  };
  static constexpr std::string_view name = "has_warpgroups";
  static constexpr unsigned threads = warp_lanes;
  __device__ __forceinline__ static void run(const Params& p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    *p.out = 1;
#else
    *p.out = 0;
#endif
  }
};
}  // namespace detail
/// Whether kernels that use this file may run: on a device of compute capability 9.0 whose program was
/// compiled for sm_90a. \errors state
[[nodiscard]] inline bool has_warpgroups() {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "cudaGetDevice", detail::HasWarpgroups::name);
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "cudaDeviceGetAttribute", detail::HasWarpgroups::name);
  if (major != 9) return false;
  DeviceArray<unsigned> out(1);
  launch<detail::HasWarpgroups>({{1}, 0}, {out.data()});
  std::vector<unsigned> has(1);
  out.download(has);
  return has[0] != 0;
}

/// A barrier in shared memory that threads arrive at, and bulk copies by their bytes; its phases end
/// one after the other, and are waited for by the parity of their number.
class Barrier {
 public:
  static constexpr std::size_t bytes = 8;
  /// \pre at: a multiple of 8, in bytes from the beginning of shared memory
  __device__ __forceinline__ explicit Barrier(std::size_t at)
      : address_(static_cast<unsigned>(__cvta_generic_to_shared(detail::shared_memory() + at))) {}
  /// \pre one thread makes it; publish_barriers() and sync() follow
  __device__ __forceinline__ void init(unsigned arrivals) const {
    QUIRE_WARPGROUP_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address_), "r"(arrivals)
                        : "memory");
  }
  __device__ __forceinline__ void arrive() const {
    QUIRE_WARPGROUP_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address_) : "memory");
  }
  /// Arrives, and announces bytes that copies will bring in this phase.
  __device__ __forceinline__ void arrive_expecting(std::uint32_t coming) const {
    QUIRE_WARPGROUP_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_),
                        "r"(coming)
                        : "memory");
  }
  /// Waits until the phase of that parity has ended; that before the first is taken to have parity 1.
  __device__ __forceinline__ void wait(unsigned parity) const {
    QUIRE_WARPGROUP_ASM(
        "{\n"
        ".reg .pred ended;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
        "@!ended bra again;\n"
        "}" ::"r"(address_),
        "r"(parity)
        : "memory");
  }
  [[nodiscard]] __device__ __forceinline__ unsigned address() const { return address_; }

 private:
  unsigned address_;
};
/// Shows the calling thread's new barriers to what copies.
__device__ __forceinline__ void publish_barriers() {
  QUIRE_WARPGROUP_ASM("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Shows what the calling thread wrote to shared memory to copies and products that begin after it.
__device__ __forceinline__ void fence_async() {
  QUIRE_WARPGROUP_ASM("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Meets `threads` threads at barrier `id`, 1 to 15; meet_later() does not wait for the others.
__device__ __forceinline__ void meet(unsigned id, unsigned threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void meet_later(unsigned id, unsigned threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/// Gives registers away, or takes them, so that each thread of the warpgroup has `count`.
template <unsigned count>
__device__ __forceinline__ void shrink_registers() {
  QUIRE_WARPGROUP_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <unsigned count>
__device__ __forceinline__ void grow_registers() {
  QUIRE_WARPGROUP_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

/// A tensor in global memory as bulk copies see it; a kernel gets it within its Params.
struct TensorMap {
  CUtensorMap map;
};
/// \errors usage, for a tensor that devices do not take; state, where the driver cannot describe one
template <class Half>
[[nodiscard]] TensorMap make_tensor_map(const void* base, const TensorShape& shape) {
  static_assert(std::is_same_v<Half, Bf16> || std::is_same_v<Half, Fp16>);
  check_tensor(base, shape);
  constexpr const char* call = "cuTensorMapEncodeTiled";
  // from the driver that is loaded: nothing is linked with it
  static void* const entry_point = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult status{};
    check(cudaGetDriverEntryPointByVersion(call, &found, 12000, cudaEnableDefault, &status),
          "cudaGetDriverEntryPointByVersion", {});
    if (status != cudaDriverEntryPointSuccess || found == nullptr) {
      throw device_error(call, {}, "the driver does not know it; one for CUDA 12.0 or later does");
    }
    return found;
  }();
  const auto encode = reinterpret_cast<CUresult (*)(
      CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
      const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
      CUtensorMapL2promotion, CUtensorMapFloatOOBfill)>(entry_point);
  const cuuint32_t each[4] = {1, 1, 1, 1};
  cuuint64_t size[4], strides[3];
  cuuint32_t box[4];
  for (unsigned d = 0; d < 4; ++d) {
    size[d] = shape.size[d];
    box[d] = shape.box[d];
    if (d < 3) strides[d] = shape.strides[d];
  }
  TensorMap map{};
  const CUresult result =
      encode(&map.map,
             std::is_same_v<Half, Bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                        : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
             4, const_cast<void*>(base), size, strides, box, each, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw device_error(call, {},
                       "error " + std::to_string(static_cast<int>(result)) +
                           " of the driver for a tensor that passed Quire's checks");
  }
  return map;
}

/// Where a box begins, in elements; what lies beyond the tensor arrives as zeros.
struct BoxPlace {
  std::int32_t at[4];
};
/// Begins to copy a box to element i on, swizzled; its bytes arrive at the barrier.
/// \pre one thread calls; i begins a row of 128 bytes; the map lies in the kernel's Params
__device__ __forceinline__ void copy_box(const Shared<std::uint32_t>& to, std::size_t i,
                                         const TensorMap& map, const BoxPlace& place,
                                         const Barrier& barrier) {
  QUIRE_WARPGROUP_ASM(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to.address(i)),
      "l"(reinterpret_cast<std::uint64_t>(&map)), "r"(barrier.address()), "r"(place.at[0]),
      "r"(place.at[1]), "r"(place.at[2]), "r"(place.at[3])
      : "memory");
}

// Products of a warpgroup, (64, n) of fp32: begin_products(), multiply_async() as often as it takes,
// commit_products(); sums may be read after wait_products<groups under way>() and hold().

__device__ __forceinline__ void begin_products() {
  QUIRE_WARPGROUP_ASM("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
  QUIRE_WARPGROUP_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `newest` groups of products are under way.
template <unsigned newest>
__device__ __forceinline__ void wait_products() {
  QUIRE_WARPGROUP_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(newest) : "memory");
}
/// Keeps a compiler from moving reads and writes of sums across waits.
template <unsigned outputs>
__device__ __forceinline__ void hold(float (&d)[outputs]) {
  QUIRE_UNROLL
  for (unsigned i = 0; i < outputs; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <unsigned outputs>
__device__ __forceinline__ void hold(std::uint32_t (&a)[outputs]) {
  QUIRE_UNROLL
  for (unsigned i = 0; i < outputs; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

namespace detail {
template <class Half, bool transposed, unsigned outputs>
struct WarpgroupProduct {
  static_assert(outputs == 0, "quire: simt: products of a warpgroup are 64 or 128 columns wide");
};

// One operand a register: the text of the instruction lists them all.
#define QUIRE_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define QUIRE_D16(i) QUIRE_D4(i), QUIRE_D4(i + 4), QUIRE_D4(i + 8), QUIRE_D4(i + 12)
#define QUIRE_D32 QUIRE_D16(0), QUIRE_D16(16)
#define QUIRE_D64 QUIRE_D16(0), QUIRE_D16(16), QUIRE_D16(32), QUIRE_D16(48)
#define QUIRE_LIST32                                                                           \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, "                                                                                      \
  "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define QUIRE_LIST64                                                                             \
  QUIRE_LIST32                                                                                   \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define QUIRE_WARPGROUP_PRODUCT(half, type, columns, outputs, list, operands, p0, p1, p2, p3, p4,  \
                                p5, p6)                                                            \
  template <bool transposed>                                                                       \
  struct WarpgroupProduct<half, transposed, outputs> {                                             \
    __device__ __forceinline__ static void run(float (&d)[outputs], std::uint64_t a,               \
                                               std::uint64_t b, bool adds) {                       \
      QUIRE_WARPGROUP_ASM("{\n.reg .pred adds;\nsetp.ne.b32 adds, " p2                             \
                          ", 0;\n"                                                                 \
                          "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type     \
                          " {" list "}, " p0 ", " p1 ", adds, 1, 1, 0, " p3 ";\n}"                 \
                          : operands                                                               \
                          : "l"(a), "l"(b), "r"(static_cast<int>(adds)), "n"(transposed ? 1 : 0)); \
    }                                                                                              \
    __device__ __forceinline__ static void run(float (&d)[outputs], const std::uint32_t (&a)[4],   \
                                               std::uint64_t b, bool adds) {                       \
      QUIRE_WARPGROUP_ASM("{\n.reg .pred adds;\nsetp.ne.b32 adds, " p5                             \
                          ", 0;\n"                                                                 \
                          "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type     \
                          " {" list "}, {" p0 ", " p1 ", " p2 ", " p3 "}, " p4 ", adds, 1, 1, " p6 \
                          ";\n}"                                                                   \
                          : operands                                                               \
                          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                    \
                            "r"(static_cast<int>(adds)), "n"(transposed ? 1 : 0));                 \
    }                                                                                              \
  };
#define QUIRE_WARPGROUP_PRODUCTS(half, type)                                                   \
  QUIRE_WARPGROUP_PRODUCT(half, type, "64", 32, QUIRE_LIST32, QUIRE_D32, "%32", "%33", "%34",  \
                          "%35", "%36", "%37", "%38")                                          \
  QUIRE_WARPGROUP_PRODUCT(half, type, "128", 64, QUIRE_LIST64, QUIRE_D64, "%64", "%65", "%66", \
                          "%67", "%68", "%69", "%70")
QUIRE_WARPGROUP_PRODUCTS(Bf16, "bf16")
QUIRE_WARPGROUP_PRODUCTS(Fp16, "f16")
#undef QUIRE_WARPGROUP_PRODUCTS
#undef QUIRE_WARPGROUP_PRODUCT
#undef QUIRE_LIST64
#undef QUIRE_LIST32
#undef QUIRE_D64
#undef QUIRE_D32
#undef QUIRE_D16
#undef QUIRE_D4
}  // namespace detail

/// d (64, n) += a (64, 16) b (16, n), or d = where not `adds`; elements of d as fragments::warpgroup_d()
/// says. a in shared memory, k-major, b likewise or not, both as their descriptors say. Both are read,
/// and d is written, at any time until the group is waited for.
/// \pre the whole warpgroup calls with the same descriptors
template <class Half, Major b_major, unsigned outputs>
__device__ __forceinline__ void multiply_async(float (&d)[outputs], std::uint64_t a,
                                               std::uint64_t b, bool adds) {
  detail::WarpgroupProduct<Half, b_major == Major::other, outputs>::run(d, a, b, adds);
}
/// The same with a in registers, 16 rows a warp as in multiply_add().
template <class Half, Major b_major, unsigned outputs>
__device__ __forceinline__ void multiply_async(float (&d)[outputs], const std::uint32_t (&a)[4],
                                               std::uint64_t b, bool adds) {
  detail::WarpgroupProduct<Half, b_major == Major::other, outputs>::run(d, a, b, adds);
}

}  // namespace quire::simt

#undef QUIRE_WARPGROUP_ASM
