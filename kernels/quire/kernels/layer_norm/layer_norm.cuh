#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/block_primitives.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Out>
struct LayerNormParams {
  float* stream = nullptr;              // \shape (rows, width): the residual stream
  const float* add = nullptr;           // \shape (rows, width): added first; null: none
  const float* scale = nullptr;         // null: out is the stream itself, without a norm
  const float* bias = nullptr;          // \shape scale, bias (width)
  Out* out = nullptr;                   // \shape (grid.x, width)
  const std::uint32_t* rows = nullptr;  // \shape (grid.x): which rows; null: all, in order
  std::uint32_t width = 0;
  float eps = 0;
  bool behind = false;  // the norm lies behind the sum: what it makes is the stream from then on
};

/// stream += add; out = (stream - mean) / sqrt(variance + eps) * scale + bias. The variance is that of
/// the distances from the mean, so that a large mean costs no digits. Grid: (rows of out).
/// \cost reads stream and add once, stream twice more from near caches, writes stream and out once
template <class Out, BlockPrimitives Block>
struct LayerNorm {
  using Params = LayerNormParams<Out>;
  static constexpr std::string_view name = "layer_norm";
  static constexpr unsigned threads = Block::threads;
  static constexpr std::size_t shared_bytes = Block::bytes;

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t row = p.rows != nullptr ? p.rows[simt::block().x] : simt::block().x;
    float* x = p.stream + row * p.width;
    Out* out = p.out + std::size_t{simt::block().x} * p.width;
    if (p.scale == nullptr) {
      for (unsigned i = simt::thread(); i < p.width; i += threads) {
        if (p.add != nullptr) x[i] += p.add[row * p.width + i];
        out[i] = simt::narrow<Out>(x[i]);
      }
      return;
    }
    const auto width = static_cast<float>(p.width);
    float total = 0;
    for (unsigned i = simt::thread(); i < p.width; i += threads) {
      if (p.add != nullptr) x[i] += p.add[row * p.width + i];
      total += x[i];
    }
    const Block block{0};
    const float mean = block.sum(total) / width;
    float squares = 0;
    for (unsigned i = simt::thread(); i < p.width; i += threads) {
      const float distance = x[i] - mean;
      squares = simt::fma(distance, distance, squares);
    }
    const float factor = simt::rsqrt(block.sum(squares) / width + p.eps);
    for (unsigned i = simt::thread(); i < p.width; i += threads) {
      const float normed = simt::fma((x[i] - mean) * factor, p.scale[i], p.bias[i]);
      if (p.behind) x[i] = normed;
      out[i] = simt::narrow<Out>(normed);
    }
  }
};

}  // namespace quire::kernels
