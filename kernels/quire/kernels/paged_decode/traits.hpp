#pragma once

#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/kernels/kv_access.hpp>

namespace quire::kernels {

/// What is tuned about decode attention.
struct DecodeTuning {
  unsigned warps = 4;        // a block; each takes every warps-th tile of tokens
  unsigned unroll = 2;       // tiles under way in a warp of the CUDA-core path
  unsigned heads = 2;        // query heads that the CUDA-core path keeps in registers
  unsigned matrix_from = 3;  // groups of at least this many heads go through matrix products
};

/// Whether the matrix path exists: it multiplies 16-bit numbers, so fp32 queries would lose bits,
/// and takes 16 dimensions at once.
template <class Key>
inline constexpr bool has_matrix_path =
    sizeof(typename Key::Query) == 2 &&
    sizeof(typename Key::Stored) <= 2 && Key::head_dim % 16 == 0;

/// Elements that a lane loads at once where `lanes` lanes share a row: as many as divide the row,
/// at most what rows are aligned to.
template <class Key>
[[nodiscard]] constexpr unsigned vector_elements(unsigned lanes) {
  unsigned n = Key::Access::alignment / sizeof(typename Key::Stored);
  while (Key::head_dim % (lanes * n) != 0) n /= 2;
  return n;
}

}  // namespace quire::kernels
