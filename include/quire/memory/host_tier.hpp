#pragma once

#include <cassert>
#include <cstdint>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// Blocks in host memory that hold swapped sequences, with reference counts.
class HostTier {
 public:
  explicit HostTier(BlockCount capacity) : references_(static_cast<std::size_t>(capacity.value)) {
    for (std::size_t i = references_.size(); i-- > 0;) {
      free_.push_back(BlockId{static_cast<std::uint32_t>(i)});
    }
  }
  [[nodiscard]] BlockCount capacity() const {
    return static_cast<std::int64_t>(references_.size());
  }
  [[nodiscard]] BlockCount free() const { return static_cast<std::int64_t>(free_.size()); }

  [[nodiscard]] std::uint32_t references(BlockId block) const { return references_[block.value]; }

  /// \pre free() > 0.
  [[nodiscard]] BlockId allocate() {
    const BlockId block = free_.back();
    free_.pop_back();
    references_[block.value] = 1;
    return block;
  }
  void acquire(BlockId block) { ++references_[block.value]; }
  void release(BlockId block) {
    assert(references_[block.value] > 0);
    if (--references_[block.value] == 0) free_.push_back(block);
  }

 private:
  std::vector<std::uint32_t> references_;
  std::vector<BlockId> free_;
};

}  // namespace quire
