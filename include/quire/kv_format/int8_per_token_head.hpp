#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/code_layout.hpp>
#include <quire/kv_format/concepts.hpp>

namespace quire::kv_format {

/// Keys and values as 8-bit integers with one fp32 scale a token and head, symmetric, rounded to
/// nearest even: value = scale * q, scale = largest magnitude / 127.
/// \shape rows of a slab (the CPU's: interleaved.hpp): int8 (block_tokens, head_dim), padded to 4
/// bytes, then fp32 (block_tokens) of scales
/// \source vLLM's KV cache type int8_per_token_head, which keeps one fp32 scale likewise.
/// Deviation: scales lie beside the slab's data, not in a plane of their own.
struct Int8PerTokenHead {
  static constexpr std::string_view name = "int8_per_token_head";

  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return (scales_at(block_tokens, head_dim) + block_tokens * sizeof(float) + 63) / 64 * 64;
  }
  static constexpr double token_bytes(std::size_t head_dim) {
    return static_cast<double>(head_dim + sizeof(float));
  }
  static void store(std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                    std::size_t slot, const float* values) {
    const float scale = blockwise::largest(values, head_dim) / 127.0f;
    const float inverse = blockwise::inverse_of(scale);
    auto* row = reinterpret_cast<std::int8_t*>(slab) + slot * head_dim;
    for (std::size_t i = 0; i < head_dim; ++i) {
      row[i] = static_cast<std::int8_t>(blockwise::nearest(values[i] * inverse, -127, 127));
    }
    std::memcpy(slab + scales_at(block_tokens, head_dim) + slot * sizeof(float), &scale,
                sizeof scale);
  }
  static void load(const std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   std::size_t slot, float* values) {
    float scale;
    std::memcpy(&scale, slab + scales_at(block_tokens, head_dim) + slot * sizeof(float),
                sizeof scale);
    packing::unpack_signed(slab + slot * head_dim, head_dim, scale, values);
  }
  static constexpr CodeLayout code_layout(std::size_t block_tokens, std::size_t head_dim) {
    return {8,
            head_dim,
            head_dim,
            head_dim,
            0,
            CodeLayout::Scale::fp32_of_slab,
            scales_at(block_tokens, head_dim)};
  }
  /// Copies one token between slabs, bit for bit.
  static void copy(const std::byte* from, std::size_t from_slot, std::byte* to, std::size_t to_slot,
                   std::size_t block_tokens, std::size_t head_dim) {
    const std::size_t scales = scales_at(block_tokens, head_dim);
    std::memcpy(to + to_slot * head_dim, from + from_slot * head_dim, head_dim);
    std::memcpy(to + scales + to_slot * sizeof(float), from + scales + from_slot * sizeof(float),
                sizeof(float));
  }

 private:
  static constexpr std::size_t scales_at(std::size_t block_tokens, std::size_t head_dim) {
    return (block_tokens * head_dim + 3) / 4 * 4;
  }
};
static_assert(KvFormatPolicy<Int8PerTokenHead>);

}  // namespace quire::kv_format
