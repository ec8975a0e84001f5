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

/// Hyperbolic caching: gives up the block with the fewest uses per time since it entered, of 64 drawn
/// at random. A block of a steady rate keeps its rank however long it stays.
/// The draw depends on the seed and the number of removals before it, so asking again draws again
/// the same blocks.
/// \complexity on_* O(1); victim O(64).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Blankstein, Sen, Freedman, "Hyperbolic Caching: Flexible Caching for Web Applications",
/// USENIX ATC '17, with its sample of 64. Time is counted in insertions and accesses. Up to 64
/// evictable blocks are all compared.
class Hyperbolic {
 public:
  static constexpr std::string_view name = "hyperbolic";
  static constexpr std::size_t samples = 64;
  explicit Hyperbolic(BlockCount capacity, std::uint64_t seed = 0)
      : seed_(seed), evictable_(capacity), blocks_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext&) { blocks_[b.value] = {++now_, 1.0}; }
  void on_access(BlockId b, const BlockContext&) {
    ++now_;
    blocks_[b.value].uses += 1;
  }
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
          return std::pair(x.uses / static_cast<double>(now_ - x.entered + 1), x.entered);
        },
        [this](BlockId b) { return &blocks_[b.value]; });
  }

 private:
  struct Block {
    std::uint64_t entered = 0;
    double uses = 0;
  };
  std::uint64_t seed_;
  EvictableSet evictable_;
  huge_vector<Block> blocks_;
  std::uint64_t now_ = 0;
  std::uint64_t removals_ = 0;
};
static_assert(EvictionPolicy<Hyperbolic>);

}  // namespace quire::eviction
