#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Weight>
struct EmbeddingParams {
  const Weight* table = nullptr;  // \shape (vocab, width); null: tokens' are in `out` already
  const std::uint32_t* tokens = nullptr;  // \shape (rows), below vocab
  float* out = nullptr;                   // \shape (rows, width)
  std::uint32_t width = 0;
  const Weight* places = nullptr;  // \shape (positions, width): learned positions; null: none
  const std::int32_t* position = nullptr;  // \shape (rows), of places
};

/// Looks up token embeddings, and adds those of positions where the model has learned them. Grid: (rows,
/// parts of the width). \cost reads one row or two and writes one
template <class Weight>
struct Embedding {
  using Params = EmbeddingParams<Weight>;
  static constexpr std::string_view name = "embedding";
  static constexpr unsigned threads = 256;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t row = simt::block().x;
    const unsigned i = simt::block().y * threads + simt::thread();
    if (i >= p.width) return;
    float x = p.table != nullptr ? simt::widen(p.table[p.tokens[row] * std::size_t{p.width} + i])
                                 : p.out[row * p.width + i];
    if (p.places != nullptr) {
      x += simt::widen(p.places[static_cast<std::size_t>(p.position[row]) * p.width + i]);
    }
    p.out[row * p.width + i] = x;
  }
};

}  // namespace quire::kernels
