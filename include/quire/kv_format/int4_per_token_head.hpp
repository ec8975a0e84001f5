#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/code_layout.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as unsigned codes of `bits` bits between the least and the largest value of a token
/// and head; scale and least value in fp16: bits + 32 / head_dim bits a value.
/// \source vLLM KV cache type int4_per_token_head; QServe's KV4 (Lin et al., MLSys '25) without its
/// SmoothAttention.
template <unsigned bits>
struct IntPerTokenHead : Rows<IntPerTokenHead<bits>> {
  static constexpr auto text = Name<>().add("int").add(bits).add("_per_token_head");
  static constexpr std::string_view name = text;
  using Block = blockwise::Asymmetric<bits, 256>;

  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return packing::bytes_of<bits>(head_dim) + 4;
  }
  static constexpr std::string_view refusal(std::size_t /*block_tokens*/, std::size_t head_dim) {
    if (head_dim > 256) return "heads have more than 256 channels";
    return head_dim % packing::granule<bits> == 0 ? "" : "its codes do not fill whole bytes";
  }
  static constexpr CodeLayout code_layout(std::size_t /*block_tokens*/, std::size_t head_dim) {
    return {bits,
            head_dim,
            row_bytes(head_dim),
            row_bytes(head_dim),
            0,
            CodeLayout::Scale::fp16_and_offset,
            packing::bytes_of<bits>(head_dim)};
  }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    Block::encode(values, head_dim, row);
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    Block::decode(row, head_dim, values);
  }
};

using Int4PerTokenHead = IntPerTokenHead<4>;
using Int3PerTokenHead = IntPerTokenHead<3>;
using Int2PerTokenHead = IntPerTokenHead<2>;
static_assert(KvFormatPolicy<Int4PerTokenHead>);

}  // namespace quire::kv_format
