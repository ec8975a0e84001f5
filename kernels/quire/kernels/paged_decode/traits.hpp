#pragma once

#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/kernels/kv_access.hpp>

namespace quire::kernels {

/// What is tuned about decode attention.
struct DecodeTuning {
  unsigned warps = 4;           // a block; each takes every warps-th tile of tokens
  unsigned unroll = 2;          // tiles under way in a warp of the CUDA-core path
  unsigned heads = 2;           // query heads that the CUDA-core path keeps in registers
  unsigned matrix_from = 1;     // groups of at least this many heads go through matrix products
  unsigned byte_tiles = 1;      // tiles under way in a warp of the matrix path, of 8-bit elements
  bool bytes_ahead = true;      // whether the next tiles are loaded before these are done: 8-bit
  bool halves_ahead = false;    // likewise, 16-bit elements
  unsigned bytes_resident = 4;  // blocks a multiprocessor for which registers must do: 8-bit
};

/// Whether the matrix path exists: it multiplies 16-bit numbers, so fp32 queries would lose bits,
/// and takes 16 dimensions at once.
template <class Key>
inline constexpr bool has_matrix_path =
    !packs_codes<typename Key::Access> && sizeof(typename Key::Query) == 2 &&
    sizeof(typename Key::Stored) <= 2 && Key::head_dim % 16 == 0;

/// What the matrix path multiplies: 16-bit elements as they are, 8-bit ones as fp16, which holds each
/// of them and is cheap to make of them.
template <class Key>
using DecodeHalf =
    std::conditional_t<sizeof(typename Key::Stored) == 1, Fp16,
                       std::conditional_t<sizeof(typename Key::Stored) == 2, typename Key::Stored,
                                          typename Key::Query>>;

/// Elements that a lane loads at once where `lanes` lanes share a row: as many as divide the row,
/// at most what rows are aligned to.
template <class Key>
[[nodiscard]] constexpr unsigned vector_elements(unsigned lanes) {
  unsigned n = Key::Access::alignment / sizeof(typename Key::Stored);
  while (Key::head_dim % (lanes * n) != 0) n /= 2;
  return n;
}

}  // namespace quire::kernels
