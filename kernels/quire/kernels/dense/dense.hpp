#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

#include <quire/core/float16.hpp>

namespace quire::kernels {

/// y = x W^T + bias on the device. \shape x (rows, inputs); w (outputs, inputs); bias (outputs) or
/// null; y (rows, outputs)
template <class In, class Weight, class Out>
struct DenseArguments {
  const In* x = nullptr;
  const Weight* w = nullptr;
  const float* bias = nullptr;
  Out* y = nullptr;
  std::size_t rows = 0, inputs = 0, outputs = 0;
};

/// The seam behind which a library's dense product fits. Accumulates in fp32.
template <class D, class In, class Weight, class Out>
concept DenseProductFor = requires(D& product, const DenseArguments<In, Weight, Out>& a) {
  { D::name } -> std::convertible_to<std::string_view>;
  { product.multiply(a) } -> std::same_as<void>;
};

/// A product in plain loops, where device memory is the host's: what the emulator runs.
/// Each element is one chain of additions in the order of the inputs, bias first.
struct PlainProduct {
  static constexpr std::string_view name = "plain";
  template <class In, class Weight, class Out>
  void multiply(const DenseArguments<In, Weight, Out>& a) {
    for (std::size_t r = 0; r < a.rows; ++r) {
      for (std::size_t o = 0; o < a.outputs; ++o) {
        float sum = a.bias != nullptr ? a.bias[o] : 0.0f;
        const In* x = a.x + r * a.inputs;
        const Weight* w = a.w + o * a.inputs;
        for (std::size_t i = 0; i < a.inputs; ++i) sum += to_float(x[i]) * to_float(w[i]);
        a.y[r * a.outputs + o] = from_float<Out>(sum);
      }
    }
  }
};
static_assert(DenseProductFor<PlainProduct, float, Bf16, float>);

}  // namespace quire::kernels
