#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <quire/core/ids.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/concepts.hpp>

namespace quire::attention {

/// One layer's keys and values in a pool of blocks.
/// \shape base: block b at b * block_bytes; in it slabs (2, kv_heads), keys first
template <class Byte>
struct KvView {
  Byte* base = nullptr;
  std::size_t block_bytes = 0;  // from one block to the next: all layers of a block lie together
  std::size_t slab_bytes = 0;
  std::size_t block_tokens = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;

  [[nodiscard]] Byte* keys(BlockId block, std::size_t head) const {
    return base + block.value * block_bytes + head * slab_bytes;
  }
  [[nodiscard]] Byte* values(BlockId block, std::size_t head) const {
    return base + block.value * block_bytes + (kv_heads + head) * slab_bytes;
  }
};

/// One sequence's queries in a batch: rows [row, row + rows) of the query matrix are the positions
/// [position, position + rows); keys and values up to the last of them are in the blocks.
struct SequenceRows {
  std::size_t row = 0;
  std::size_t rows = 0;
  std::int64_t position = 0;
  std::span<const BlockId> blocks;
};

/// Writes keys and values of new tokens into their slots.
/// \shape keys, values (rows, kv_heads, head_dim), rows `stride` floats apart
template <KvFormatPolicy Format>
void write_kv(const KvView<std::byte>& cache, std::span<const SequenceRows> sequences,
              const float* keys, const float* values, std::size_t stride, ThreadPool& threads) {
  threads.parallel_for(sequences.size(), [&](std::size_t s) {
    const SequenceRows& sequence = sequences[s];
    for (std::size_t i = 0; i < sequence.rows; ++i) {
      const std::size_t position = static_cast<std::size_t>(sequence.position) + i;
      const BlockId block = sequence.blocks[position / cache.block_tokens];
      const std::size_t slot = position % cache.block_tokens;
      const std::size_t row = (sequence.row + i) * stride;
      for (std::size_t h = 0; h < cache.kv_heads; ++h) {
        Format::store(cache.keys(block, h), cache.block_tokens, cache.head_dim, slot,
                      keys + row + h * cache.head_dim);
        Format::store(cache.values(block, h), cache.block_tokens, cache.head_dim, slot,
                      values + row + h * cache.head_dim);
      }
    }
  });
}

}  // namespace quire::attention
