#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include <quire/core/code_layout.hpp>
#include <quire/core/hadamard.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// A side whose tokens are multiplied by a Hadamard matrix before they are stored: outliers are spread
/// over all channels. Queries, or the sum of values, are multiplied by it once, not each token.
template <TokenKvSlab Side>
struct RotatedSide {
  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return Side::slab_bytes(block_tokens, head_dim);
  }
  static constexpr double token_bytes(std::size_t head_dim) { return Side::token_bytes(head_dim); }
  static constexpr std::string_view refusal(std::size_t block_tokens, std::size_t head_dim) {
    if (head_dim > 256 || (head_dim & (head_dim - 1)) != 0) {
      return "a Hadamard matrix needs heads of a power of two of channels, at most 256";
    }
    if constexpr (requires { Side::refusal(block_tokens, head_dim); }) {
      return Side::refusal(block_tokens, head_dim);
    } else {
      return "";
    }
  }
  static void store(std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                    std::size_t slot, const float* values) {
    std::array<float, 256> turned;
    std::copy_n(values, head_dim, turned.begin());
    hadamard(turned.data(), head_dim);
    Side::store(slab, block_tokens, head_dim, slot, turned.data());
  }
  static void load(const std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   std::size_t slot, float* values) {
    Side::load(slab, block_tokens, head_dim, slot, values);
  }
  static void copy(const std::byte* from, std::size_t from_slot, std::byte* to, std::size_t to_slot,
                   std::size_t block_tokens, std::size_t head_dim) {
    Side::copy(from, from_slot, to, to_slot, block_tokens, head_dim);
  }
  static constexpr CodeLayout code_layout(std::size_t block_tokens,
                                          std::size_t head_dim) requires requires {
    Side::code_layout(block_tokens, head_dim);
  }
  { return Side::code_layout(block_tokens, head_dim); }
  static void to_basis(float* x, std::size_t head_dim) { hadamard(x, head_dim); }
  static void from_basis(float* x, std::size_t head_dim) { hadamard(x, head_dim); }
};

/// Another format in a rotated basis, keys and values.
/// \source Ashkboos et al., "QuaRot", NeurIPS '24: the same Hadamard matrix on keys and queries leaves
/// their products as they are. Deviation: the values' is undone after attention; folded into the
/// weights by model::with_rotated_values(), with a format that rotates keys alone.
template <KvFormatPolicy Format>
struct Rotated {
  static constexpr auto text = Name<112>().add("rotated_").add(Format::name);
  static constexpr std::string_view name = text;
  using Keys = RotatedSide<keys_of<Format>>;
  using Values = RotatedSide<values_of<Format>>;
};
static_assert(KvFormatPolicy<Rotated<Int4PerTokenHead>>);

}  // namespace quire::kv_format
