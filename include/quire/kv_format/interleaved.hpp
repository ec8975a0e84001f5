// mechanism: slabs that lie as the kernels of a processor multiply them
#pragma once

#include <array>
#include <cstddef>
#include <cstring>

#include <quire/core/code_layout.hpp>
#include <quire/kv_format/concepts.hpp>

namespace quire::kv_format {

/// A side whose whole numbers lie in runs of tokens (core/code_layout.hpp) where blocks and heads suit
/// them, elsewhere as its own rows; the numbers are the same. Each byte belongs to one token, so that
/// tokens may be written side by side.
template <TokenKvSlab Side, bool keys>
class Interleaved {
 public:
  static constexpr std::size_t most_channels = 256;

  static void store(std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                    std::size_t slot, const float* values) {
    const CodeLayout to = code_layout(block_tokens, head_dim);
    if (!to.in_runs) return Side::store(slab, block_tokens, head_dim, slot, values);
    const CodeLayout from = Side::code_layout(1, head_dim);
    Token token, codes;
    Side::store(token.data(), 1, head_dim, 0, values);
    const std::size_t bytes = to.group * to.bits / 8;
    for (std::size_t g = 0; g < head_dim / to.group; ++g) {
      const std::byte* group = token.data() + g * from.group_bytes;
      for (std::size_t i = 0; i < bytes; ++i) {
        codes[g * bytes + i] = group[from.codes_at + i] ^ sign_of(to);
      }
      std::memcpy(slab + to.scale_of(slot, g), group + from.scale_at, to.scale_bytes());
    }
    put(codes, to, slab, slot);
  }
  static void load(const std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   std::size_t slot, float* values) {
    const CodeLayout from = code_layout(block_tokens, head_dim);
    if (!from.in_runs) return Side::load(slab, block_tokens, head_dim, slot, values);
    const CodeLayout to = Side::code_layout(1, head_dim);
    Token token, codes;
    get(slab, from, slot, codes);
    const std::size_t bytes = from.group * from.bits / 8;
    for (std::size_t g = 0; g < head_dim / from.group; ++g) {
      std::byte* group = token.data() + g * to.group_bytes;
      for (std::size_t i = 0; i < bytes; ++i) {
        group[to.codes_at + i] = codes[g * bytes + i] ^ sign_of(from);
      }
      std::memcpy(group + to.scale_at, slab + from.scale_of(slot, g), from.scale_bytes());
    }
    Side::load(token.data(), 1, head_dim, 0, values);
  }
  /// Copies one token between slabs, bit for bit.
  static void copy(const std::byte* from, std::size_t from_slot, std::byte* to, std::size_t to_slot,
                   std::size_t block_tokens, std::size_t head_dim) {
    const CodeLayout layout = code_layout(block_tokens, head_dim);
    if (!layout.in_runs) return Side::copy(from, from_slot, to, to_slot, block_tokens, head_dim);
    Token codes;
    get(from, layout, from_slot, codes);
    put(codes, layout, to, to_slot);
    for (std::size_t g = 0; g < head_dim / layout.group; ++g) {
      std::memcpy(to + layout.scale_of(to_slot, g), from + layout.scale_of(from_slot, g),
                  layout.scale_bytes());
    }
  }
  static constexpr CodeLayout code_layout(std::size_t block_tokens, std::size_t head_dim) {
    CodeLayout layout = Side::code_layout(block_tokens, head_dim);
    if (!layout.suits(head_dim) || head_dim > most_channels ||
        block_tokens % CodeLayout::run_tokens != 0) {
      return layout;
    }
    layout.in_runs = true;
    layout.codes_at = 0;
    layout.row_bytes = head_dim * layout.bits / 8;
    layout.scale_at = block_tokens * layout.row_bytes;
    layout.group_bytes = block_tokens * layout.scale_bytes();
    return layout;
  }

 private:
  // codes of 8 bits with the largest scales there are, every 16 channels
  using Token = std::array<std::byte, most_channels + most_channels / 16 * 4>;

  /// Turns signed bytes into bytes with 128 added, and back.
  static constexpr std::byte sign_of(const CodeLayout& layout) {
    return layout.bits == 8 ? std::byte{0x80} : std::byte{0};
  }
  // neighbouring bytes that stay neighbours
  static constexpr std::size_t together = keys ? 4 : 1;

  static void put(const Token& codes, const CodeLayout& layout, std::byte* slab, std::size_t slot) {
    for (std::size_t i = 0; i < layout.row_bytes; i += together) {
      std::memcpy(slab + layout.template byte_at<keys>(slot, i), codes.data() + i, together);
    }
  }
  static void get(const std::byte* slab, const CodeLayout& layout, std::size_t slot, Token& codes) {
    for (std::size_t i = 0; i < layout.row_bytes; i += together) {
      std::memcpy(codes.data() + i, slab + layout.template byte_at<keys>(slot, i), together);
    }
  }
};

}  // namespace quire::kv_format
