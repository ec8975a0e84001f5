#pragma once

#include <quire/attention/alibi.hpp>
#include <quire/attention/causal.hpp>
#include <quire/attention/sinks.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/attention/soft_cap.hpp>
#include <quire/kernels/kv_access.hpp>

/// What the default build instantiates for devices. One line is one kernel in one unit; a unit lists
/// a few, so that two cores share the work. kernels/lint.py counts them, and reads the compiler's
/// report on each.
namespace quire::manifest {

using namespace quire::kernels;
using namespace quire::attention;
using quire::Bf16;
using quire::Fp16;

template <unsigned head_dim>
using Bf16Key = KernelKey<kv_format::Bf16, 16, head_dim, Bf16>;
template <unsigned head_dim>
using Fp16Key = KernelKey<kv_format::Fp16, 16, head_dim, Fp16>;
template <unsigned head_dim>
using Int8Key = KernelKey<kv_format::Int8PerTokenHead, 16, head_dim, Bf16>;
template <unsigned head_dim>
using E4m3Key = KernelKey<kv_format::Fp8E4m3, 16, head_dim, Bf16>;
template <unsigned head_dim>
using Fp32Key = KernelKey<kv_format::Fp32, 16, head_dim, float>;

}  // namespace quire::manifest

/// Instantiates a kernel's entry. (The annotation must be that of the template.)
#define QUIRE_INSTANTIATE(...)                                                     \
  template __global__ void quire::simt::entry<__VA_ARGS__>(const __grid_constant__ \
                                                           typename __VA_ARGS__::Params);
