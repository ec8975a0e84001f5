#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as FP8 E4M3 with one fp32 scale a token and head, the largest magnitude at 448.
/// \source vLLM KV cache type fp8_per_token_head.
struct Fp8PerTokenHead : Rows<Fp8PerTokenHead> {
  static constexpr std::string_view name = "fp8_per_token_head";

  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim + sizeof(float); }
  static constexpr simd::ByteFloatLayout byte_floats(std::size_t head_dim) {
    return {&simd::byte_table<E4m3>, row_bytes(head_dim), simd::ByteFloatLayout::Scale::behind_row};
  }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    const float scale = blockwise::largest(values, head_dim) / 448.0f;
    const float inverse = blockwise::inverse_of(scale);
    for (std::size_t i = 0; i < head_dim; ++i) {
      blockwise::put(row + i, to_e4m3(values[i] * inverse));
    }
    blockwise::put(row + head_dim, scale);
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    blockwise::widen_e4m3(row, head_dim, blockwise::get<float>(row + head_dim), values);
  }
};
static_assert(KvFormatPolicy<Fp8PerTokenHead>);

}  // namespace quire::kv_format
