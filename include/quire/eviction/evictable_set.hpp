// mechanism: the evictable blocks in a dense array, for policies that draw them at random.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
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
  [[nodiscard]] BlockId pick(std::uint64_t bits) const { return blocks_[place_of(bits)]; }

  /// The member with the least score of `samples` drawn with replacement, or of all when there are
  /// no more than that; of equals the first drawn. Equal (seed, draw) draw equally. Scores should
  /// differ between blocks. address(b): where the score of `b` is read from; samples are scattered over
  /// memory, so all of it is asked for before any is waited for.
  template <class Score, class Address>
  [[nodiscard]] std::optional<BlockId> least(std::size_t samples, std::uint64_t seed,
                                             std::uint64_t draw, Score score,
                                             Address address) const {
    if (blocks_.empty()) return std::nullopt;
    const bool all = blocks_.size() <= samples;
    const std::size_t count = all ? blocks_.size() : samples;
    std::array<const BlockId*, 64> drawn;
    std::optional<BlockId> best;
    decltype(score(BlockId{})) best_score{};
    for (std::size_t begin = 0; begin < count; begin += drawn.size()) {
      const std::size_t here = std::min(drawn.size(), count - begin);
      for (std::size_t i = 0; i < here; ++i) {
        drawn[i] = &blocks_[all ? begin + i : place_of(counter_bits(seed, draw, begin + i))];
        quire::prefetch(drawn[i]);
      }
      for (std::size_t i = 0; i < here; ++i) quire::prefetch(address(*drawn[i]));
      for (std::size_t i = 0; i < here; ++i) {
        const auto its_score = score(*drawn[i]);
        if (best && !(its_score < best_score)) continue;
        best = *drawn[i];
        best_score = its_score;
      }
    }
    return best;
  }

 private:
  [[nodiscard]] std::size_t place_of(std::uint64_t bits) const {
    return static_cast<std::size_t>((bits >> 32) * blocks_.size() >> 32);
  }
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  huge_vector<BlockId> blocks_;
  huge_vector<std::uint32_t> place_;  // \shape (capacity)
};

}  // namespace quire::eviction
