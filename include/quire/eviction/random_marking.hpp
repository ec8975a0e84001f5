#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/evictable_set.hpp>

namespace quire::eviction {

/// Randomised marking: a use marks a block, and a victim is drawn at random from the unmarked ones.
/// When no evictable block is unmarked, a new phase begins, in which none is marked. With the leaf
/// rule of the pool it draws leaves.
/// The draw depends on the seed and the number of removals before it, and the new phase begins when
/// its first victim is removed: asking for the victim changes nothing.
/// \complexity O(1).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Fiat et al., "Competitive Paging Algorithms", J. Algorithms 1991; proposed for KV caches by
/// Wu, Silwal, Zhang, "Randomization Boosts KV Caching, Learning Balances Query Load", ICLR '26.
/// Deviation: blocks, not tokens; a phase ends when the evictable blocks are all marked, whatever
/// the blocks in use are.
class RandomMarking {
 public:
  static constexpr std::string_view name = "random_marking";
  explicit RandomMarking(BlockCount capacity, std::uint64_t seed = 0)
      : seed_(seed),
        unmarked_(capacity),
        marked_(capacity),
        marked_in_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext&) { marked_in_[b.value] = phase_; }
  void on_access(BlockId b, const BlockContext&) {
    marked_in_[b.value] = phase_;
    if (unmarked_.contains(b)) {
      unmarked_.remove(b);
      marked_.add(b);
    }
  }
  void set_evictable(BlockId b, bool evictable) {
    if (evictable) {
      (marked_in_[b.value] == phase_ ? marked_ : unmarked_).add(b);
    } else {
      drop(b);
    }
  }
  void on_remove(BlockId b) {
    if (unmarked_.empty() && victim() == b) {
      std::swap(unmarked_, marked_);
      ++phase_;
    }
    drop(b);
    ++removals_;
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const EvictableSet& from = unmarked_.empty() ? marked_ : unmarked_;
    if (from.empty()) return std::nullopt;
    return from.pick(counter_bits(seed_, 0, removals_));
  }

 private:
  void drop(BlockId b) {
    if (unmarked_.contains(b)) unmarked_.remove(b);
    if (marked_.contains(b)) marked_.remove(b);
  }

  std::uint64_t seed_;
  EvictableSet unmarked_;
  EvictableSet marked_;
  huge_vector<std::uint64_t> marked_in_;  // phase in which a block was last marked
  std::uint64_t phase_ = 1;
  std::uint64_t removals_ = 0;
};
static_assert(EvictionPolicy<RandomMarking>);

}  // namespace quire::eviction
