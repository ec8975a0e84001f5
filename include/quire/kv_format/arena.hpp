// mechanism: the memory of all slabs of an executor
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/attention/kv_view.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/open_blocks.hpp>
#include <quire/model/shape.hpp>

namespace quire::kv_format {

/// The memory behind a pool of KV blocks.
/// \shape (blocks, layers, (keys, values), kv_heads) slabs: all layers of a block lie together, so
/// that copying or swapping a block is one memcpy.
template <KvStorage Format>
class Arena {
 public:
  Arena() = default;
  /// \errors usage when the format does not suit the model's heads or the block size
  Arena(const model::Shape& shape, BlockCount blocks,
        Tokens block_tokens) requires KvFormatPolicy<Format>
      : Arena(shape, blocks, block_tokens, codec_of<Format>()) {}
  Arena(const model::Shape& shape, BlockCount blocks, Tokens block_tokens, const KvCodec& codec)
      : codec_(&codec),
        blocks_(blocks),
        kv_heads_(static_cast<std::size_t>(shape.kv_heads)),
        head_dim_(static_cast<std::size_t>(shape.head_dim)),
        block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        layers_(static_cast<std::size_t>(shape.layers)) {
    for (std::size_t i = 0; i < layers_; ++i) {
      const KvCodec& c = codec.of_layer(i, layers_);
      check(c.keys);
      check(c.values);
      layer_at_.push_back(block_bytes_);
      block_bytes_ += kv_heads_ * (c.keys.slab_bytes(block_tokens_, head_dim_) +
                                   c.values.slab_bytes(block_tokens_, head_dim_));
    }
    const auto count = static_cast<std::size_t>(blocks.value);
    if (block_bytes_ != 0 && count > std::numeric_limits<std::size_t>::max() / block_bytes_) {
      throw state_error("KV cache", "its size overflows", "fewer blocks");
    }
    // A sequence's blocks lie anywhere: with small pages, each is a walk of the page tables, and two
    // where it lies across pages.
    const std::size_t bytes = count * block_bytes_;
    memory_ = AlignedArray<std::byte>(bytes, bytes < huge_page ? 64 : huge_page);
    ask_for_huge_pages(memory_.data(), memory_.size());
    if (codec.keeps_open_blocks()) {
      for (const KvCodec* c = &codec; c != nullptr; c = c->skipped) {
        if (c->packs_later()) note_windows(*c);
      }
      open_ = OpenBlocks(count, layers_, kv_heads_, block_tokens_, head_dim_);
    }
  }

  [[nodiscard]] BlockCount blocks() const { return blocks_; }
  [[nodiscard]] const KvCodec& codec() const { return *codec_; }
  /// Bytes of one block over all layers.
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  /// Bytes beside the pool: tokens that are not packed yet.
  [[nodiscard]] std::size_t open_bytes() const { return open_.bytes(); }
  [[nodiscard]] OpenBlocks& open_blocks() { return open_; }
  [[nodiscard]] std::byte* block(BlockId b) { return memory_.data() + b.value * block_bytes_; }
  [[nodiscard]] const std::byte* block(BlockId b) const {
    return memory_.data() + b.value * block_bytes_;
  }

  [[nodiscard]] attention::KvView<std::byte> layer(std::size_t i) {
    return view<std::byte>(memory_.data(), i, open_.empty() ? nullptr : &open_);
  }
  /// For reading. \pre the format keeps no blocks open
  [[nodiscard]] attention::KvView<const std::byte> layer(std::size_t i) const {
    return view<const std::byte>(memory_.data(), i, nullptr);
  }

  /// Prepares the blocks that a batch will write to.
  void begin(std::span<const attention::SequenceRows> sequences) {
    if (open_.empty()) return;
    for (const attention::SequenceRows& s : sequences) {
      const auto first = static_cast<std::size_t>(s.position);
      for (std::size_t b = first / block_tokens_; b * block_tokens_ < first + s.rows; ++b) {
        // A block that begins here may have been another sequence's before.
        if (b * block_tokens_ >= first) {
          open_.open(s.blocks[b]);
        } else if (!open_.is_open(s.blocks[b])) {
          throw state_error("KV cache", "a packed block would be written to in its middle",
                            "a prefix index that shares whole blocks, or another KV format");
        }
      }
    }
  }
  /// Packs what a batch has completed, and gives back the room of tokens that left the window.
  /// rotations: as in attention::KvView
  void end(std::span<const attention::SequenceRows> sequences, const float* rotations = nullptr) {
    if (open_.empty()) return;
    for (const attention::SequenceRows& s : sequences) {
      const std::size_t length = static_cast<std::size_t>(s.position) + s.rows;
      const std::size_t complete = length / group_ * group_;
      for (std::size_t b = complete / block_tokens_; b-- > 0;) {
        if (!open_.is_open(s.blocks[b])) break;  // those before were closed before
        seal(s.blocks[b], b * block_tokens_, rotations);
        if (length + 1 >= (b + 1) * block_tokens_ + window_) open_.close(s.blocks[b]);
      }
    }
  }

  /// Gives the format what it was fitted with. \errors usage where it is another format's or model's,
  /// or missing, or not wanted
  void calibrate(std::shared_ptr<const Calibration> fitted) {
    check_calibration(*codec_, fitted.get(), layers_, kv_heads_, head_dim_);
    calibration_ = std::move(fitted);
  }

  /// Fills every slot with NaN, so that a read of what nobody wrote shows in the results.
  void poison() {
    if (memory_.size() > 0) std::memset(memory_.data(), 0xff, memory_.size());
  }

 private:
  void check(const SideCodec& side) const {
    std::string_view why;
    if (side.refusal != nullptr) why = side.refusal(block_tokens_, head_dim_);
    if (why.empty() && side.residual % block_tokens_ != 0) {
      why = "its residual window is no whole number of blocks";
    }
    if (why.empty() && side.slab_bytes(block_tokens_, head_dim_) % 64 != 0) {
      why = "its slab is no whole number of lines of 64 bytes";
    }
    if (why.empty()) return;
    throw usage_error("kv_format " + std::string(codec_->name), std::string(why),
                      "another format, block size or model than blocks of " +
                          std::to_string(block_tokens_) + " tokens and heads of " +
                          std::to_string(head_dim_));
  }

  /// \errors usage: two formats of one model that pack at different times
  void note_windows(const KvCodec& c) {
    std::size_t window = 0, group = block_tokens_;
    for (const SideCodec* side : {&c.keys, &c.values}) {
      if (side->seal == nullptr) window = std::max(window, side->residual);
      if (side->seal != nullptr) group = std::max(group, side->residual);
    }
    const bool other = group_ != 0 && (window != window_ || group != group_);
    if (other) {
      throw usage_error("kv_format " + std::string(codec_->name),
                        "its layers pack their tokens at different times",
                        "formats with the same residual window, or one that packs each token");
    }
    window_ = window;
    group_ = group;
  }

  template <class Byte>
  [[nodiscard]] attention::KvView<Byte> view(Byte* memory, std::size_t i, OpenBlocks* open) const {
    const KvCodec& c = codec_->of_layer(i, layers_);
    const auto fits = [i](const std::vector<std::vector<float>>& side) {
      return side[i].empty() ? nullptr : side[i].data();
    };
    const Calibration* fitted = calibration_.get();
    return {memory + layer_at_[i],
            block_bytes_,
            c.keys.slab_bytes(block_tokens_, head_dim_),
            block_tokens_,
            kv_heads_,
            head_dim_,
            c.values.slab_bytes(block_tokens_, head_dim_),
            &c,
            open,
            i,
            nullptr,
            fitted == nullptr ? nullptr : fits(fitted->keys),
            fitted == nullptr ? nullptr : fits(fitted->values)};
  }

  void seal(BlockId b, std::size_t position, const float* rotations) {
    std::vector<float> rows(block_tokens_ * head_dim_);
    for (const auto side : {OpenBlocks::keys, OpenBlocks::values}) {
      if (open_.sealed(b, side)) continue;
      open_.set_sealed(b, side);
      for (std::size_t l = 0; l < layers_; ++l) {
        const attention::KvView<std::byte> cache = layer(l);
        const SideCodec& codec = side == OpenBlocks::keys ? cache.codec->keys : cache.codec->values;
        if (codec.seal == nullptr) continue;
        for (std::size_t h = 0; h < kv_heads_; ++h) {
          const quire::Fp16* from = open_.row(b, l, side, h, 0);
          for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = to_float(from[i]);
          if (codec.before_rotation && rotations != nullptr) {
            for (std::size_t t = 0; t < block_tokens_; ++t) {
              attention::turn(rotations + (position + t) * head_dim_, head_dim_, true,
                              rows.data() + t * head_dim_);
            }
          }
          codec.seal(side == OpenBlocks::keys ? cache.keys(b, h) : cache.values(b, h),
                     block_tokens_, head_dim_, rows.data());
        }
      }
    }
  }

  const KvCodec* codec_ = nullptr;
  BlockCount blocks_ = 0;
  std::size_t kv_heads_ = 0, head_dim_ = 0, block_tokens_ = 0, layers_ = 0;
  std::size_t block_bytes_ = 0;
  // Of formats that pack later: tokens kept open beside packed ones, and tokens packed at a time.
  std::size_t window_ = 0, group_ = 0;
  std::vector<std::size_t> layer_at_;  // bytes from a block's begin
  AlignedArray<std::byte> memory_;
  OpenBlocks open_;
  std::shared_ptr<const Calibration> calibration_;
};

/// Copies one block of all layers between arenas of the same shape, or within one. What is not packed
/// yet goes along within one arena only.
template <KvStorage Format>
void copy_block(const Arena<Format>& source, BlockId from, Arena<Format>& target, BlockId to) {
  std::memcpy(target.block(to), source.block(from), source.block_bytes());
  if (&source == &target && !target.open_blocks().empty()) target.open_blocks().copied(from, to);
}

}  // namespace quire::kv_format
