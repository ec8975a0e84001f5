// mechanism: what the formats without scales share
#pragma once

#include <cstddef>

#include <quire/core/float16.hpp>
#include <quire/core/simd.hpp>

namespace quire::kv_format {

/// What the formats without scales have in common: a slab is a row-major array of elements.
/// \shape slab (block_tokens, head_dim), padded to 64 bytes
template <class ElementType>
struct Plain {
  using Element = ElementType;

  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return (block_tokens * head_dim * sizeof(Element) + 63) / 64 * 64;
  }
  static constexpr double token_bytes(std::size_t head_dim) {
    return static_cast<double>(head_dim * sizeof(Element));
  }
  static void store(std::byte* slab, std::size_t /*block_tokens*/, std::size_t head_dim,
                    std::size_t slot, const float* values) {
    auto* row = reinterpret_cast<Element*>(slab) + slot * head_dim;
    for (std::size_t i = 0; i < head_dim; ++i) row[i] = from_float<Element>(values[i]);
  }
  static void load(const std::byte* slab, std::size_t /*block_tokens*/, std::size_t head_dim,
                   std::size_t slot, float* values) {
    const auto* row = reinterpret_cast<const Element*>(slab) + slot * head_dim;
    std::size_t i = 0;
    for (; i + simd::lanes <= head_dim; i += simd::lanes) {
      simd::store(simd::load(row + i), values + i);
    }
    for (; i < head_dim; ++i) values[i] = to_float(row[i]);
  }
};

}  // namespace quire::kv_format
