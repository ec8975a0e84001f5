#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/open_blocks.hpp>

namespace quire::attention {

/// One layer's keys and values in a pool of blocks.
/// \shape base: block b at b * block_bytes; in it slabs (2, kv_heads), keys first
template <class Byte>
struct KvView {
  Byte* base = nullptr;
  std::size_t block_bytes = 0;  // from one block to the next: all layers of a block lie together
  std::size_t slab_bytes = 0;   // of keys, and of values where value_slab_bytes is 0
  std::size_t block_tokens = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t value_slab_bytes = 0;
  const kv_format::KvCodec* codec = nullptr;  // null: that of the format which a function is given
  kv_format::OpenBlocks* open = nullptr;      // null where the format packs tokens at once
  std::size_t layer = 0;
  /// Cosines and sines of rotary embedding by position, where the format stores keys before it.
  /// \shape (positions, head_dim)
  const float* rotations = nullptr;
  /// What the format was fitted with, null where it is not. \shape (kv_heads, fit_floats)
  const float* key_fits = nullptr;
  const float* value_fits = nullptr;

  [[nodiscard]] const float* key_fit(std::size_t head) const {
    return key_fits == nullptr ? nullptr : key_fits + head * codec->keys.fit_floats(head_dim);
  }
  [[nodiscard]] const float* value_fit(std::size_t head) const {
    return value_fits == nullptr ? nullptr : value_fits + head * codec->values.fit_floats(head_dim);
  }
  [[nodiscard]] Byte* keys(BlockId block, std::size_t head) const {
    return base + block.value * block_bytes + head * slab_bytes;
  }
  [[nodiscard]] Byte* values(BlockId block, std::size_t head) const {
    const std::size_t size = value_slab_bytes == 0 ? slab_bytes : value_slab_bytes;
    return base + block.value * block_bytes + kv_heads * slab_bytes + head * size;
  }
  [[nodiscard]] KvView<const std::byte> readable() const {
    return {base,  block_bytes, slab_bytes, block_tokens, kv_heads, head_dim,  value_slab_bytes,
            codec, open,        layer,      rotations,    key_fits, value_fits};
  }
  /// The same, with the codec of a format where the view names none.
  template <kv_format::KvStorage Format>
  [[nodiscard]] KvView with_codec() const {
    KvView view = *this;
    if constexpr (!std::is_same_v<Format, kv_format::Packed>) {
      if (codec == nullptr) view.codec = &kv_format::codec_of<Format>();
    }
    return view;
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

/// Turns a key by rotary embedding, or back. \shape angles (2, head_dim / 2): cosines, sines; x (head_dim)
inline void turn(const float* angles, std::size_t head_dim, bool back, float* x) {
  const std::size_t half = head_dim / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const float c = angles[i], s = back ? -angles[half + i] : angles[half + i];
    const float a = x[i], b = x[half + i];
    x[i] = a * c - b * s;
    x[half + i] = b * c + a * s;
  }
}

/// Writes keys and values of single tokens into a cache.
template <kv_format::KvStorage Format>
class TokenWriter {
 public:
  explicit TokenWriter(const KvView<std::byte>& cache)
      : cache_(cache.template with_codec<Format>()) {}

  /// \shape key, value (head_dim)
  void write(BlockId block, std::size_t head, std::size_t slot, std::size_t position,
             const float* key, const float* value) {
    using kv_format::OpenBlocks;
    if constexpr (PlainKvFormat<Format>) {
      Format::store(cache_.keys(block, head), cache_.block_tokens, cache_.head_dim, slot, key);
      Format::store(cache_.values(block, head), cache_.block_tokens, cache_.head_dim, slot, value);
    } else {
      if (cache_.codec->keys.before_rotation && cache_.rotations != nullptr) {
        turned_.assign(key, key + cache_.head_dim);
        turn(cache_.rotations + position * cache_.head_dim, cache_.head_dim, true, turned_.data());
        store(cache_.codec->keys, OpenBlocks::keys, cache_.keys(block, head), cache_.key_fit(head),
              block, head, slot, turned_.data(), key);
      } else {
        store(cache_.codec->keys, OpenBlocks::keys, cache_.keys(block, head), cache_.key_fit(head),
              block, head, slot, key, key);
      }
      store(cache_.codec->values, OpenBlocks::values, cache_.values(block, head),
            cache_.value_fit(head), block, head, slot, value, value);
    }
  }

 private:
  /// packed: what a slab takes; open: what is kept as it is.
  void store(const kv_format::SideCodec& side, kv_format::OpenBlocks::Side which, std::byte* slab,
             const float* fitted, BlockId block, std::size_t head, std::size_t slot,
             const float* packed, const float* open) {
    if (side.store != nullptr) {
      side.write(fitted, slab, cache_.block_tokens, cache_.head_dim, slot, packed);
    }
    if (cache_.open != nullptr && (side.seal != nullptr || side.residual > 0)) {
      Fp16* row = cache_.open->row(block, cache_.layer, which, head, slot);
      for (std::size_t i = 0; i < cache_.head_dim; ++i) row[i] = to_fp16(open[i]);
    }
  }

  KvView<std::byte> cache_;
  std::vector<float> turned_;  // of a format that stores keys before rotary embedding
};

/// Reads a key back as fp32, in the model's own basis, as stored. \shape values (head_dim)
/// \pre the token is packed, and its format stores keys after rotary embedding
template <kv_format::KvStorage Format, class Byte>
void read_key(const KvView<Byte>& cache, BlockId block, std::size_t head, std::size_t slot,
              float* values) {
  if constexpr (PlainKvFormat<Format>) {
    Format::load(cache.keys(block, head), cache.block_tokens, cache.head_dim, slot, values);
  } else {
    const auto view = cache.template with_codec<Format>();
    const kv_format::SideCodec& side = view.codec->keys;
    side.read(view.key_fit(head), cache.keys(block, head), cache.block_tokens, cache.head_dim, slot,
              values);
    if (side.from_basis != nullptr) side.from_basis(values, cache.head_dim);
  }
}

/// Writes keys and values of new tokens into their slots.
/// \shape keys, values (rows, kv_heads, head_dim), rows `stride` floats apart
/// prepare(row): called just before a row is stored, whose keys and values need not be ready sooner
/// \pre blocks of formats that keep blocks open are open (Arena::begin)
template <kv_format::KvStorage Format, class Prepare>
void write_kv(const KvView<std::byte>& cache, std::span<const SequenceRows> sequences,
              const float* keys, const float* values, std::size_t stride, ThreadPool& threads,
              const Prepare& prepare) {
  threads.parallel_for(sequences.size(), [&](std::size_t s) {
    const SequenceRows& sequence = sequences[s];
    TokenWriter<kv_format::storage_of<Format>> writer(cache.template with_codec<Format>());
    for (std::size_t i = 0; i < sequence.rows; ++i) {
      const std::size_t position = static_cast<std::size_t>(sequence.position) + i;
      const BlockId block = sequence.blocks[position / cache.block_tokens];
      const std::size_t slot = position % cache.block_tokens;
      const std::size_t row = (sequence.row + i) * stride;
      prepare(sequence.row + i);
      for (std::size_t h = 0; h < cache.kv_heads; ++h) {
        writer.write(block, h, slot, position, keys + row + h * cache.head_dim,
                     values + row + h * cache.head_dim);
      }
    }
  });
}
template <kv_format::KvStorage Format>
void write_kv(const KvView<std::byte>& cache, std::span<const SequenceRows> sequences,
              const float* keys, const float* values, std::size_t stride, ThreadPool& threads) {
  write_kv<Format>(cache, sequences, keys, values, stride, threads, [](std::size_t) {});
}

}  // namespace quire::attention
