// mechanism: formats that pack each token by itself
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

#include <quire/core/code_layout.hpp>
#include <quire/core/name.hpp>

namespace quire::kv_format {

/// What formats have in common whose slab is an array of packed tokens, scales beside their codes: a
/// format of that kind is a struct F : Rows<F> with
/// - row_bytes(head_dim): bytes of a token;
/// - encode(values, head_dim, row) and decode(row, head_dim, values). \shape values (head_dim)
/// \shape slab (block_tokens, row_bytes), padded to 64 bytes
template <class F>
struct Rows {
  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return (block_tokens * F::row_bytes(head_dim) + 63) / 64 * 64;
  }
  static constexpr double token_bytes(std::size_t head_dim) {
    return static_cast<double>(F::row_bytes(head_dim));
  }
  static void store(std::byte* slab, std::size_t /*block_tokens*/, std::size_t head_dim,
                    std::size_t slot, const float* values) {
    F::encode(values, head_dim, slab + slot * F::row_bytes(head_dim));
  }
  static void load(const std::byte* slab, std::size_t /*block_tokens*/, std::size_t head_dim,
                   std::size_t slot, float* values) {
    F::decode(slab + slot * F::row_bytes(head_dim), head_dim, values);
  }
  static void copy(const std::byte* from, std::size_t from_slot, std::byte* to, std::size_t to_slot,
                   std::size_t /*block_tokens*/, std::size_t head_dim) {
    const std::size_t bytes = F::row_bytes(head_dim);
    std::memcpy(to + to_slot * bytes, from + from_slot * bytes, bytes);
  }
};

/// The same for tokens that are packed in blocks of core/blockwise.hpp, one after the other.
template <class Block>
struct BlockRows : Rows<BlockRows<Block>> {
  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return (head_dim + Block::size - 1) / Block::size * Block::bytes;
  }
  static constexpr std::string_view refusal(std::size_t /*block_tokens*/, std::size_t head_dim) {
    return head_dim % Block::size == 0 ? "" : "the head is no whole number of its groups";
  }
  /// The block's, in a row of them.
  static constexpr CodeLayout code_layout(std::size_t /*block_tokens*/,
                                          std::size_t head_dim) requires requires {
    Block::codes;
  }
  {
    CodeLayout layout = Block::codes;
    layout.group = Block::size;
    layout.group_bytes = Block::bytes;
    layout.row_bytes = row_bytes(head_dim);
    return layout;
  }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    for (std::size_t i = 0; i < head_dim; i += Block::size, row += Block::bytes) {
      Block::encode(values + i, row);
    }
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    for (std::size_t i = 0; i < head_dim; i += Block::size, row += Block::bytes) {
      Block::decode(row, values + i);
    }
  }
};

}  // namespace quire::kv_format
