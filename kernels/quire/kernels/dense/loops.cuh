#pragma once

#include <cstddef>
#include <string_view>

#include <quire/kernels/dense/dense.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// y = x W^T + bias, one thread an element, each one chain of additions in the order of the inputs,
/// bias first, as PlainProduct's. Grid: (ceil(outputs / threads), rows).
template <class In, class Weight, class Out>
struct DenseLoops {
  using Params = DenseArguments<In, Weight, Out>;
  static constexpr std::string_view name = "dense_loops";
  static constexpr unsigned threads = simt::emulated ? 32 : 128;
  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t o = std::size_t{simt::block().x} * threads + simt::thread();
    if (o >= p.outputs) return;
    float sum = p.bias != nullptr ? p.bias[o] : 0.0f;
    const In* x = p.x + simt::block().y * p.inputs;
    const Weight* w = p.w + o * p.inputs;
    for (std::size_t i = 0; i < p.inputs; ++i) {
      sum = simt::fma(simt::widen(x[i]), simt::widen(w[i]), sum);
    }
    p.y[simt::block().y * p.outputs + o] = simt::narrow<Out>(sum);
  }
};

/// A product of any two types on the device, in plain loops: to check others by, not to be fast.
struct LoopProduct {
  static constexpr std::string_view name = "loops";
  template <class In, class Weight, class Out>
  void multiply(const DenseArguments<In, Weight, Out>& a, simt::Stream stream = {}) {
    if (a.rows == 0 || a.outputs == 0) return;
    using Kernel = DenseLoops<In, Weight, Out>;
    simt::launch<Kernel>(
        {{static_cast<unsigned>((a.outputs + Kernel::threads - 1) / Kernel::threads),
          static_cast<unsigned>(a.rows)}},
        a, stream);
  }
};
static_assert(DenseProductFor<LoopProduct, float, Bf16, float>);

}  // namespace quire::kernels
