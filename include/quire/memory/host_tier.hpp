#pragma once

#include <cassert>
#include <cstddef>
#include <span>
#include <string_view>

#include <quire/core/aligned.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/stream_copy.hpp>
#include <quire/core/units.hpp>
#include <quire/memory/tier.hpp>

namespace quire {

/// Blocks in main memory.
/// \cost a copy past the caches of each block.  \errors none: what was written can always be read.
class HostTier {
 public:
  static constexpr std::string_view name = "host";

  HostTier(BlockCount slots, std::size_t block_bytes)
      : slots_(slots),
        block_bytes_(block_bytes),
        memory_(static_cast<std::size_t>(slots.value) * block_bytes) {
    ask_for_huge_pages(memory_.data(), memory_.size());
  }

  [[nodiscard]] BlockCount slots() const { return slots_; }
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  /// The bytes of a slot themselves. \shape (block_bytes)
  [[nodiscard]] std::span<std::byte> slot(BlockId slot) {
    return {memory_.data() + slot.value * block_bytes_, block_bytes_};
  }

  /// Those of all slots. \shape (slots, block_bytes)
  [[nodiscard]] std::span<std::byte> all() { return {memory_.data(), memory_.size()}; }

  void write(BlockId slot, std::span<const std::byte> block) {
    assert(block.size() == block_bytes_);
    stream_copy(this->slot(slot).data(), block.data(), block_bytes_);
  }
  [[nodiscard]] bool read(BlockId slot, std::span<std::byte> block) {
    stream_copy(block.data(), this->slot(slot).data(), block_bytes_);
    return true;
  }

 private:
  BlockCount slots_;
  std::size_t block_bytes_;
  AlignedArray<std::byte> memory_;
};
static_assert(BlockTier<HostTier>);

}  // namespace quire
