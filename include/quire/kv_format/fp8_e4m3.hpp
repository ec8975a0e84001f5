#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as FP8 E4M3 with the scale 1, saturating at 448: 8 bits a value.
/// \source vLLM KV cache type fp8_e4m3 without calibration. OCP's encoding, not AMD's FNUZ.
struct Fp8E4m3 : Rows<Fp8E4m3> {
  static constexpr std::string_view name = "fp8_e4m3";

  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim; }
  static constexpr simd::ByteFloatLayout byte_floats(std::size_t head_dim) {
    return {&simd::byte_table<E4m3>, row_bytes(head_dim)};
  }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    for (std::size_t i = 0; i < head_dim; ++i) blockwise::put(row + i, to_e4m3(values[i]));
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    blockwise::widen_e4m3(row, head_dim, 1.0f, values);
  }
};
static_assert(KvFormatPolicy<Fp8E4m3>);

}  // namespace quire::kv_format
