#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as FP8 E5M2 with the scale 1, saturating at 57344: 8 bits a value.
/// \source vLLM KV cache type fp8_e5m2.
struct Fp8E5m2 : Rows<Fp8E5m2> {
  static constexpr std::string_view name = "fp8_e5m2";

  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim; }
  static constexpr simd::ByteFloatLayout byte_floats(std::size_t head_dim) {
    return {&simd::byte_table<E5m2>, row_bytes(head_dim)};
  }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    for (std::size_t i = 0; i < head_dim; ++i) blockwise::put(row + i, to_e5m2(values[i]));
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    blockwise::widen_e5m2(row, head_dim, values);
  }
};
static_assert(KvFormatPolicy<Fp8E5m2>);

}  // namespace quire::kv_format
