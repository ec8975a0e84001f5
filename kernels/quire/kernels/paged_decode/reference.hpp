#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/attention/reference.hpp>
#include <quire/kernels/kv_access.hpp>

namespace quire::kernels {

/// The oracle of the attention kernels: one query over its sequence's blocks, in double.
/// \shape q (head_dim); table: the sequence's blocks; result (head_dim)
template <class Format, AttentionVariant Variant>
[[nodiscard]] std::vector<double> attention_reference(const KvPool& cache, std::size_t block_tokens,
                                                      std::size_t head_dim,
                                                      std::span<const std::uint32_t> table,
                                                      std::size_t kv_head, const Variant& variant,
                                                      std::size_t head, std::int64_t position,
                                                      double scale, const float* q) {
  const std::size_t slab = Format::slab_bytes(block_tokens, head_dim);
  const auto count = static_cast<std::size_t>(position + 1);
  std::vector<float> keys(count * head_dim), values(count * head_dim);
  for (auto t = static_cast<std::size_t>(variant.first_visible(position)); t < count; ++t) {
    const std::byte* block = cache.base + table[t / block_tokens] * cache.block_bytes;
    const std::size_t slot = t % block_tokens;
    Format::load(block + kv_head * slab, block_tokens, head_dim, slot, &keys[t * head_dim]);
    Format::load(block + (cache.kv_heads + kv_head) * slab, block_tokens, head_dim, slot,
                 &values[t * head_dim]);
  }
  return attention::reference(variant, head, position, scale, head_dim, q, keys.data(),
                              values.data());
}

}  // namespace quire::kernels
