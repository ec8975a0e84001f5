#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <quire/core/ids.hpp>

namespace quire {

/// Logical block -> physical block of one sequence in one KV group.
class BlockTable {
 public:
  [[nodiscard]] std::span<const BlockId> blocks() const { return blocks_; }
  [[nodiscard]] std::size_t size() const { return blocks_.size(); }
  [[nodiscard]] bool empty() const { return blocks_.empty(); }
  [[nodiscard]] BlockId operator[](std::size_t logical) const { return blocks_[logical]; }
  [[nodiscard]] BlockId back() const { return blocks_.back(); }

  void append(BlockId block) { blocks_.push_back(block); }
  void replace(std::size_t logical, BlockId block) { blocks_[logical] = block; }
  void assign(std::span<const BlockId> blocks) { blocks_.assign(blocks.begin(), blocks.end()); }
  void truncate(std::size_t size) { blocks_.resize(size); }
  void clear() { blocks_.clear(); }
  void reserve(std::size_t blocks) { blocks_.reserve(blocks); }

 private:
  std::vector<BlockId> blocks_;
};

}  // namespace quire
