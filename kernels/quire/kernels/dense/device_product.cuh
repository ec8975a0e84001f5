#pragma once

#if defined(__CUDACC__)
#include <quire/kernels/dense/cublaslt.cuh>
#else
#include <quire/kernels/dense/loops.cuh>
#endif

namespace quire::kernels {

/// The dense product for what a program is compiled for: cuBLASLt on devices, plain loops on the emulator.
#if defined(__CUDACC__)
using DeviceProduct = CublasLtProduct;
#else
using DeviceProduct = LoopProduct;
#endif

}  // namespace quire::kernels
