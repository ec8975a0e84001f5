#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/device_math.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// x sigmoid(x).
struct Silu {
  QUIRE_DEVICE static float of(float x) { return x / (1.0f + simt::exp2(-x * log2e)); }
};
/// GELU by its tanh approximation.
struct GeluTanh {
  QUIRE_DEVICE static float of(float x) {
    const float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + simt::tanh(u));
  }
};

struct Relu {
  QUIRE_DEVICE static float of(float x) { return simt::max(x, 0.0f); }
};

template <class In, class Out>
struct ActivationParams {
  const In* in = nullptr;  // \shape (rows, width), rows in_stride apart
  std::size_t in_stride = 0;
  Out* out = nullptr;  // \shape (rows, width)
  std::uint32_t width = 0;
};

/// out = f(in). Grid: (rows, parts of the width). \cost reads and writes each value once
template <class Function, class In, class Out>
struct Activation {
  using Params = ActivationParams<In, Out>;
  static constexpr std::string_view name = "activation";
  static constexpr unsigned threads = 256;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned i = simt::block().y * threads + simt::thread();
    if (i >= p.width) return;
    const std::size_t row = simt::block().x;
    p.out[row * p.width + i] =
        simt::narrow<Out>(Function::of(simt::widen(p.in[row * p.in_stride + i])));
  }
};

template <class In, class Out>
struct GatedActivationParams {
  const In* in = nullptr;  // \shape (rows, 2, width): gates, then what they let through
  std::size_t in_stride = 0;
  Out* out = nullptr;  // \shape (rows, width)
  std::uint32_t width = 0;
};

/// out = f(gate) * up; with Silu, SwiGLU. Grid: (rows, parts of the width).
/// \cost reads 2 width and writes width values a row
template <class Function, class In, class Out>
struct GatedActivation {
  using Params = GatedActivationParams<In, Out>;
  static constexpr std::string_view name = "gated_activation";
  static constexpr unsigned threads = 256;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const In* in = p.in + simt::block().x * p.in_stride;
    const unsigned i = simt::block().y * threads + simt::thread();
    if (i >= p.width) return;
    const float gate = simt::widen(in[i]), up = simt::widen(in[p.width + i]);
    p.out[std::size_t{simt::block().x} * p.width + i] = simt::narrow<Out>(Function::of(gate) * up);
  }
};

}  // namespace quire::kernels
