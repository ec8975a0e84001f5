#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/block_primitives.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Out>
struct RmsNormParams {
  float* stream = nullptr;  // \shape (rows, width): the residual stream
  const float* add =
      nullptr;  // \shape (rows, width), rows add_stride apart: added first; null: none
  std::size_t add_stride = 0;
  const float* scale = nullptr;         // \shape (width)
  Out* out = nullptr;                   // \shape (rows, width); null: only the sum is wanted
  const std::uint32_t* rows = nullptr;  // \shape (grid.x): which rows; null: all, in order
  std::uint32_t width = 0;
  float eps = 0;
};

/// stream += add; out = stream / sqrt(mean(stream^2) + eps) * scale. Grid: (rows of out).
/// \cost reads stream and add once, writes stream and out once
template <class Out, BlockPrimitives Block>
struct RmsNorm {
  using Params = RmsNormParams<Out>;
  static constexpr std::string_view name = "rms_norm";
  static constexpr unsigned threads = Block::threads;
  static constexpr std::size_t shared_bytes = Block::bytes;

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t row = p.rows != nullptr ? p.rows[simt::block().x] : simt::block().x;
    float* x = p.stream + row * p.width;
    float squares = 0;
    for (unsigned i = simt::thread(); i < p.width; i += threads) {
      float v = x[i];
      if (p.add != nullptr) {
        v += p.add[row * p.add_stride + i];
        x[i] = v;
      }
      squares = simt::fma(v, v, squares);
    }
    if (p.out == nullptr) return;
    const Block block{0};
    const float mean = block.sum(squares) / static_cast<float>(p.width);
    const float factor = simt::rsqrt(mean + p.eps);
    Out* out = p.out + std::size_t{simt::block().x} * p.width;
    for (unsigned i = simt::thread(); i < p.width; i += threads) {
      out[i] = simt::narrow<Out>(x[i] * factor * p.scale[i]);
    }
  }
};

}  // namespace quire::kernels
