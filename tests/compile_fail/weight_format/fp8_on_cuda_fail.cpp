// expect: quire: weight_format: the CUDA executor has products for weights without scales, and
#include <string_view>

#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/kv_format/fp32.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/fp8_w8a8.hpp>
#include <quire/weight_format/linear_only.hpp>

#ifdef QUIRE_FIXED
using Mine = quire::weight_format::Fp32;
#else
using Mine = quire::weight_format::LinearOnly<quire::weight_format::Fp8W8a8>;
#endif

using Executor = quire::executor::BasicCuda<float, quire::kernels::LoopProduct, 16>;

int main() { return static_cast<int>(sizeof(Executor::Steps<quire::kv_format::Fp32, Mine, 16>)); }
