#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/evictable_set.hpp>

namespace quire::eviction {

/// Leading chunk first: gives up the block with the least cost to make it again per time since its
/// last use, of 64 drawn at random. The cost grows with the position, so of equally old blocks the
/// leading ones go first.
/// Under the leaf rule of the pool the choice is between the ends of cached prefixes: short and old
/// conversations go before long and recent ones.
/// The draw depends on the seed and the number of removals before it.
/// \complexity on_* O(1); victim O(64).
/// \errors none: a block of unknown cost counts its position + 1.
/// \source Yu, Lin, Li, "Stateful Large Language Model Serving with Pensieve", EuroSys '25.
/// Deviations: 64 candidates, not all chunks (up to 64 evictable blocks are all compared); time is
/// counted in insertions and accesses; Pensieve drops heads and keeps tails, which here the leaf
/// rule forbids.
class LeadingChunkFirst {
 public:
  static constexpr std::string_view name = "leading_chunk_first";
  static constexpr std::size_t samples = 64;
  explicit LeadingChunkFirst(BlockCount capacity, std::uint64_t seed = 0)
      : seed_(seed), evictable_(capacity), blocks_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) { used(b, context); }
  void on_access(BlockId b, const BlockContext& context) { used(b, context); }
  void set_evictable(BlockId b, bool evictable) {
    evictable ? evictable_.add(b) : evictable_.remove(b);
  }
  void on_remove(BlockId b) {
    if (evictable_.contains(b)) evictable_.remove(b);
    ++removals_;
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    return evictable_.least(
        samples, seed_, removals_,
        [this](BlockId b) {
          const Block& x = blocks_[b.value];
          return std::pair(x.cost / static_cast<double>(now_ - x.last_use + 1), x.last_use);
        },
        [this](BlockId b) { return &blocks_[b.value]; });
  }

 private:
  struct Block {
    double cost = 0;
    std::uint64_t last_use = 0;
  };
  void used(BlockId b, const BlockContext& context) {
    const double cost = context.recompute.value > 0
                            ? context.recompute.value
                            : static_cast<double>(context.position.value + 1);
    blocks_[b.value] = {cost, ++now_};
  }

  std::uint64_t seed_;
  EvictableSet evictable_;
  huge_vector<Block> blocks_;
  std::uint64_t now_ = 0;
  std::uint64_t removals_ = 0;
};
static_assert(EvictionPolicy<LeadingChunkFirst>);

}  // namespace quire::eviction
