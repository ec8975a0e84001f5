// mechanism: the memory of all slabs of an executor
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <quire/attention/kv_view.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/model/shape.hpp>

namespace quire::kv_format {

/// The memory behind a pool of KV blocks.
/// \shape (blocks, layers, 2, kv_heads) slabs: all layers of a block lie together, so that copying
/// or swapping a block is one memcpy.
template <KvFormatPolicy Format>
class Arena {
 public:
  Arena() = default;
  Arena(const model::Shape& shape, BlockCount blocks, Tokens block_tokens)
      : blocks_(blocks),
        kv_heads_(static_cast<std::size_t>(shape.kv_heads)),
        head_dim_(static_cast<std::size_t>(shape.head_dim)),
        block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        slab_bytes_(Format::slab_bytes(block_tokens_, head_dim_)),
        layer_bytes_(2 * kv_heads_ * slab_bytes_),
        block_bytes_(static_cast<std::size_t>(shape.layers) * layer_bytes_) {
    const auto count = static_cast<std::size_t>(blocks.value);
    if (block_bytes_ != 0 && count > std::numeric_limits<std::size_t>::max() / block_bytes_) {
      throw state_error("KV cache", "its size overflows", "fewer blocks");
    }
    memory_ = AlignedArray<std::byte>(count * block_bytes_);
    // A sequence's blocks lie anywhere: with small pages, each is a walk of the page tables.
    ask_for_huge_pages(memory_.data(), memory_.size());
  }

  [[nodiscard]] BlockCount blocks() const { return blocks_; }
  /// Bytes of one block over all layers.
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] std::byte* block(BlockId b) { return memory_.data() + b.value * block_bytes_; }
  [[nodiscard]] const std::byte* block(BlockId b) const {
    return memory_.data() + b.value * block_bytes_;
  }

  [[nodiscard]] attention::KvView<std::byte> layer(std::size_t i) {
    return {memory_.data() + i * layer_bytes_,
            block_bytes_,
            slab_bytes_,
            block_tokens_,
            kv_heads_,
            head_dim_};
  }
  [[nodiscard]] attention::KvView<const std::byte> layer(std::size_t i) const {
    return {memory_.data() + i * layer_bytes_,
            block_bytes_,
            slab_bytes_,
            block_tokens_,
            kv_heads_,
            head_dim_};
  }

  /// Fills every slot with NaN, so that a read of what nobody wrote shows in the results.
  void poison() {
    const std::vector<float> bad(head_dim_, std::numeric_limits<float>::quiet_NaN());
    const std::size_t slabs = memory_.size() / slab_bytes_;
    for (std::size_t s = 0; s < slabs; ++s) {
      for (std::size_t slot = 0; slot < block_tokens_; ++slot) {
        Format::store(memory_.data() + s * slab_bytes_, block_tokens_, head_dim_, slot, bad.data());
      }
    }
  }

 private:
  BlockCount blocks_ = 0;
  std::size_t kv_heads_ = 0, head_dim_ = 0, block_tokens_ = 0;
  std::size_t slab_bytes_ = 0, layer_bytes_ = 0, block_bytes_ = 0;
  AlignedArray<std::byte> memory_;
};

/// Copies one block of all layers between arenas of the same shape, or within one.
template <KvFormatPolicy Format>
void copy_block(const Arena<Format>& source, BlockId from, Arena<Format>& target, BlockId to) {
  std::memcpy(target.block(to), source.block(from), source.block_bytes());
}

}  // namespace quire::kv_format
