// mechanism: sides that are fitted to a model beforehand
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// What sides have in common that pack each token by itself with numbers found beforehand: a side of that
/// kind is a struct F : FittedRows<F> with row_bytes(head_dim) and
/// - fit_floats(head_dim), fit(rows, count, head_dim, fitted): see FittedKvSlab;
/// - start(head_dim, fitted): the numbers where nothing was fitted;
/// - encode(fitted, values, head_dim, row) and decode(fitted, row, head_dim, values).
/// \shape slab (block_tokens, row_bytes), padded to 64 bytes; values (head_dim)
template <class F>
struct FittedRows : Rows<F> {
  using Rows<F>::store;
  using Rows<F>::load;
  static void store(const float* fitted, std::byte* slab, std::size_t /*block_tokens*/,
                    std::size_t head_dim, std::size_t slot, const float* values) {
    F::encode(fitted, values, head_dim, slab + slot * F::row_bytes(head_dim));
  }
  static void load(const float* fitted, const std::byte* slab, std::size_t /*block_tokens*/,
                   std::size_t head_dim, std::size_t slot, float* values) {
    F::decode(fitted, slab + slot * F::row_bytes(head_dim), head_dim, values);
  }

  // Without numbers of a model.
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    std::array<float, most_floats> fitted;
    F::start(head_dim, fitted.data());
    F::encode(fitted.data(), values, head_dim, row);
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    std::array<float, most_floats> fitted;
    F::start(head_dim, fitted.data());
    F::decode(fitted.data(), row, head_dim, values);
  }
  static constexpr std::size_t most_dim = 256;
  static constexpr std::size_t most_floats = 4 * most_dim;
};

}  // namespace quire::kv_format
