// mechanism: the evictable blocks in a dense array, for policies that draw them at random.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::eviction {

/// A set of blocks that can be indexed: the last one takes the place of one that leaves.
/// \complexity add, remove, contains, pick O(1); least O(samples). No allocation after construction.
class EvictableSet {
 public:
  explicit EvictableSet(BlockCount capacity)
      : place_(static_cast<std::size_t>(capacity.value), absent) {
    blocks_.reserve(place_.size());
  }
  // A vector's copy has no spare room, and the set must not allocate later.
  EvictableSet(const EvictableSet& other) : place_(other.place_) {
    blocks_.reserve(place_.size());
    blocks_ = other.blocks_;
  }
  EvictableSet& operator=(const EvictableSet& other) {
    if (this != &other) *this = EvictableSet(other);
    return *this;
  }
  EvictableSet(EvictableSet&&) noexcept = default;
  EvictableSet& operator=(EvictableSet&&) noexcept = default;
  ~EvictableSet() = default;

  [[nodiscard]] std::size_t size() const { return blocks_.size(); }
  [[nodiscard]] bool empty() const { return blocks_.empty(); }
  [[nodiscard]] bool contains(BlockId b) const { return place_[b.value] != absent; }

  /// \pre absent
  void add(BlockId b) {
    place_[b.value] = static_cast<std::uint32_t>(blocks_.size());
    blocks_.push_back(b);
  }
  /// \pre present
  void remove(BlockId b) {
    const std::uint32_t at = place_[b.value];
    blocks_[at] = blocks_.back();
    place_[blocks_[at].value] = at;
    blocks_.pop_back();
    place_[b.value] = absent;
  }

  /// The member that 64 random bits choose. \pre not empty
  [[nodiscard]] BlockId pick(std::uint64_t bits) const {
    return blocks_[static_cast<std::size_t>((bits >> 32) * blocks_.size() >> 32)];
  }

  /// The member with the least score of `samples` drawn with replacement, or of all when there are
  /// no more than that. Equal (seed, draw) draw equally. Scores should differ between blocks.
  template <class Score>
  [[nodiscard]] std::optional<BlockId> least(std::size_t samples, std::uint64_t seed,
                                             std::uint64_t draw, Score score) const {
    if (blocks_.empty()) return std::nullopt;
    const bool all = blocks_.size() <= samples;
    const std::size_t count = all ? blocks_.size() : samples;
    BlockId best = all ? blocks_[0] : pick(counter_bits(seed, draw, 0));
    auto best_score = score(best);
    for (std::size_t i = 1; i < count; ++i) {
      const BlockId b = all ? blocks_[i] : pick(counter_bits(seed, draw, i));
      const auto its_score = score(b);
      if (its_score < best_score) {
        best = b;
        best_score = its_score;
      }
    }
    return best;
  }

 private:
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  std::vector<BlockId> blocks_;
  std::vector<std::uint32_t> place_;  // \shape (capacity)
};

}  // namespace quire::eviction
