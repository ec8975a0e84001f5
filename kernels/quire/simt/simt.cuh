/// The thin layer between kernels and what runs them. Under nvcc each function is the instruction it
/// is named after; under a host compiler a block runs as fibers (or, with QUIRE_SIMT_THREADS, as one
/// thread a lane for ThreadSanitizer), and wrong uses are reported instead of being undefined.
///
/// A kernel includes this header and <quire/core/...> alone. Rules that make one source do for both:
/// - Shared memory is reached through simt::Shared alone, and written in units of 4 bytes or more.
/// - Only sync() and sync_warp() order shared memory; shuffles do not.
/// - Blocks are one-dimensional; grids have up to three dimensions.
#pragma once

#include <quire/simt/common.hpp>

#if defined(__CUDACC__)
#define QUIRE_DEVICE __device__ __forceinline__
#define QUIRE_UNROLL _Pragma("unroll")
#define QUIRE_NO_UNROLL _Pragma("unroll 1")
#include <quire/simt/cuda.cuh>
#else
#define QUIRE_DEVICE inline
#define QUIRE_UNROLL
#define QUIRE_NO_UNROLL
#include <quire/simt/emulator/operations.hpp>
#endif
