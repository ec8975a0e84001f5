// mechanism: tokens of formats that pack them later
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <unordered_map>
#include <vector>

#include <quire/core/float16.hpp>
#include <quire/core/ids.hpp>

namespace quire::kv_format {

/// Keys and values of tokens that are not packed yet, in fp16, by block. Beside the pool: the blocks
/// that sequences are just filling, and those in the window that their format keeps as it was.
/// A block that its sequence left behind gives its place back when its content is gone, or at the
/// latest when it is used again.
class OpenBlocks {
 public:
  OpenBlocks() = default;
  OpenBlocks(std::size_t blocks, std::size_t layers, std::size_t kv_heads, std::size_t block_tokens,
             std::size_t head_dim)
      : layers_(layers),
        kv_heads_(kv_heads),
        block_tokens_(block_tokens),
        head_dim_(head_dim),
        entry_of_(blocks, none) {}

  enum Side : std::size_t { keys, values };

  [[nodiscard]] bool empty() const { return entry_of_.empty(); }
  [[nodiscard]] bool is_open(BlockId b) const { return entry_of_[b.value] != none; }
  /// Whether a side of an open block has been packed already.
  [[nodiscard]] bool sealed(BlockId b, Side side) const { return entry(b).sealed[side]; }
  void set_sealed(BlockId b, Side side) { entry(b).sealed[side] = true; }

  /// Rows of one head, or one of them. \shape result (block_tokens, head_dim) from `slot` on
  [[nodiscard]] quire::Fp16* row(BlockId b, std::size_t layer, Side side, std::size_t head,
                                 std::size_t slot) {
    return entry(b).rows.data() + offset(layer, side, head, slot);
  }
  [[nodiscard]] const quire::Fp16* row(BlockId b, std::size_t layer, Side side, std::size_t head,
                                       std::size_t slot) const {
    return entry(b).rows.data() + offset(layer, side, head, slot);
  }

  /// Makes room for a block's tokens; what it held before as an open block is forgotten.
  void open(BlockId b) {
    close(b);
    std::uint32_t place = 0;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(entries_.size());
      entries_.emplace_back();
      entries_.back().rows.resize(2 * layers_ * kv_heads_ * block_tokens_ * head_dim_);
    } else {
      place = free_.back();
      free_.pop_back();
    }
    entries_[place].sealed[keys] = entries_[place].sealed[values] = false;
    entry_of_[b.value] = place;
  }
  void close(BlockId b) {
    if (!is_open(b)) return;
    free_.push_back(entry_of_[b.value]);
    entry_of_[b.value] = none;
  }
  /// Bytes taken beside the pool: the most that ever were open.
  [[nodiscard]] std::size_t bytes() const {
    return entries_.empty() ? 0 : entries_.size() * entries_[0].rows.size() * sizeof(quire::Fp16);
  }

  // What becomes of blocks that are copied, swapped out and in, and moved between tiers.
  void copied(BlockId from, BlockId to) {
    if (from == to) return;
    if (!is_open(from)) return close(to);
    open(to);
    entry(to) = Entry(entry(from));
  }
  void swapped_out(BlockId from, BlockId slot) {
    if (is_open(from)) {
      stored_[slot.value] = entry(from);
      close(from);
    } else {
      stored_.erase(slot.value);
    }
  }
  void swapped_in(BlockId slot, BlockId to) {
    const auto found = stored_.find(slot.value);
    if (found == stored_.end()) return close(to);
    open(to);
    entry(to) = found->second;
  }
  void moved(BlockId from, BlockId to) {
    const auto found = stored_.find(from.value);
    if (found == stored_.end()) {
      stored_.erase(to.value);
    } else {
      stored_[to.value] = Entry(found->second);
    }
  }

 private:
  struct Entry {
    std::vector<quire::Fp16> rows;  // \shape (layers, 2, kv_heads, block_tokens, head_dim)
    bool sealed[2] = {false, false};
  };
  static constexpr std::uint32_t none = 0xffffffffu;

  [[nodiscard]] Entry& entry(BlockId b) { return entries_[entry_of_[b.value]]; }
  [[nodiscard]] const Entry& entry(BlockId b) const { return entries_[entry_of_[b.value]]; }
  [[nodiscard]] std::size_t offset(std::size_t layer, Side side, std::size_t head,
                                   std::size_t slot) const {
    return (((layer * 2 + side) * kv_heads_ + head) * block_tokens_ + slot) * head_dim_;
  }

  std::size_t layers_ = 0, kv_heads_ = 0, block_tokens_ = 0, head_dim_ = 0;
  std::vector<std::uint32_t> entry_of_;  // by block
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::uint32_t, Entry> stored_;  // by slot of the tiers
};

}  // namespace quire::kv_format
