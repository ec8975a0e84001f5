#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// A run of consecutive blocks; its length is a power of two.
struct BlockRun {
  BlockId first;
  std::uint32_t blocks = 0;
  friend constexpr bool operator==(const BlockRun&, const BlockRun&) = default;
};

/// Buddy allocator over the blocks of a pool: runs of 2^k blocks, lowest address first, freed runs
/// merge with their buddies. A capacity that is no power of two is cut greedily into aligned runs.
/// \complexity allocate and free O(log capacity * log free runs).
/// \source Knuth, TAOCP 1, section 2.5; the Orca baselines of Kwon et al., SOSP '23, use one.
class BuddyAllocator {
 public:
  /// max_run: longest run ever handed out, in blocks; rounded up to a power of two.
  BuddyAllocator(BlockCount capacity, BlockCount max_run)
      : top_(static_cast<int>(std::bit_width(std::bit_ceil(as_u32(max_run))) - 1)),
        free_(static_cast<std::size_t>(top_) + 1) {
    std::uint32_t at = 0;
    const std::uint32_t end = as_u32(capacity);
    while (at < end) {
      int order = top_;
      while ((1u << order) > end - at || (at & ((1u << order) - 1)) != 0) --order;
      free_[static_cast<std::size_t>(order)].insert(at);
      at += 1u << order;
    }
    free_blocks_ = end;
  }

  [[nodiscard]] BlockCount free_blocks() const { return free_blocks_; }

  /// Run of the next power of two >= blocks, or nothing when no run is long enough.
  [[nodiscard]] std::optional<BlockRun> allocate(BlockCount blocks) {
    const int order = order_for(blocks);
    if (order > top_) return std::nullopt;
    int from = order;
    while (from <= top_ && list(from).empty()) ++from;
    if (from > top_) return std::nullopt;
    const std::uint32_t at = *list(from).begin();
    list(from).erase(list(from).begin());
    while (from > order) {
      --from;
      list(from).insert(at + (1u << from));
    }
    free_blocks_ -= std::int64_t{1} << order;
    return BlockRun{BlockId{at}, 1u << order};
  }

  /// Whether `count` runs for `blocks` blocks each could be allocated now.
  [[nodiscard]] bool fits(BlockCount blocks, std::int64_t count) const {
    const int order = order_for(blocks);
    if (order > top_) return false;
    std::int64_t runs = 0;
    for (int k = order; k <= top_; ++k) {
      runs += static_cast<std::int64_t>(free_[static_cast<std::size_t>(k)].size()) << (k - order);
    }
    return runs >= count;
  }

  /// \pre run came from allocate and was not freed since.
  void free(BlockRun run) {
    int order = static_cast<int>(std::bit_width(run.blocks)) - 1;
    std::uint32_t at = run.first.value;
    free_blocks_ += run.blocks;
    for (; order < top_; ++order) {
      const std::uint32_t buddy = at ^ (1u << order);
      if (list(order).erase(buddy) == 0) break;
      at = at < buddy ? at : buddy;
    }
    [[maybe_unused]] const bool inserted = list(order).insert(at).second;
    assert(inserted);
  }

  /// Blocks that a request for `blocks` really takes.
  [[nodiscard]] static BlockCount rounded(BlockCount blocks) {
    return static_cast<std::int64_t>(std::bit_ceil(as_u32(blocks)));
  }

 private:
  static std::uint32_t as_u32(BlockCount n) { return static_cast<std::uint32_t>(n.value); }
  static int order_for(BlockCount blocks) {
    return static_cast<int>(std::bit_width(std::bit_ceil(as_u32(blocks))) - 1);
  }
  std::set<std::uint32_t>& list(int order) { return free_[static_cast<std::size_t>(order)]; }

  int top_;
  std::vector<std::set<std::uint32_t>>
      free_;  // by order; sorted, so that allocation is deterministic
  BlockCount free_blocks_;
};

}  // namespace quire
