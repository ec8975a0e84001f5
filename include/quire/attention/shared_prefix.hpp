#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <quire/attention/kv_view.hpp>
#include <quire/core/ids.hpp>

namespace quire::attention {

/// Which sequences of a batch begin with the same blocks, so that keys and values in them need to be read
/// once for all: parallel samples, beams, and requests whose prefix was found in the cache. One level:
/// of groups within groups, those are taken that save the most blocks.
/// \source Juravsky et al., "Hydragen", 2024; Ye et al., "Cascade Inference", FlashInfer, 2024.
class SharedPrefixes {
 public:
  /// Members [begin, begin + count) of members() share their first `blocks` blocks.
  struct Group {
    std::size_t begin = 0, count = 0;
    std::size_t blocks = 0;
  };

  void clear() {
    members_.clear();
    groups_.clear();
  }
  /// Finds the groups of a batch, each of two sequences and `least` blocks at least.
  void find(std::span<const SequenceRows> sequences, std::size_t least = 1) {
    clear();
    sequences_ = sequences;
    least_ = std::max<std::size_t>(least, 1);
    members_.resize(sequences.size());
    std::iota(members_.begin(), members_.end(), std::uint32_t{0});
    std::erase_if(members_, [&](std::uint32_t s) { return sequences[s].blocks.size() < least_; });
    const auto first = [&](std::uint32_t s) { return sequences[s].blocks.front().value; };
    std::sort(members_.begin(), members_.end(), [&](std::uint32_t a, std::uint32_t b) {
      return first(a) != first(b) ? first(a) < first(b) : a < b;
    });
    for (std::size_t i = 0; i < members_.size();) {
      std::size_t end = i + 1;
      while (end < members_.size() && first(members_[end]) == first(members_[i])) ++end;
      if (end - i > 1) {
        const auto begin = members_.begin();
        std::sort(begin + static_cast<std::ptrdiff_t>(i), begin + static_cast<std::ptrdiff_t>(end),
                  [&](std::uint32_t a, std::uint32_t b) { return before(a, b); });
        (void)split(i, end);
      }
      i = end;
    }
    sequences_ = {};
  }

  [[nodiscard]] std::span<const Group> groups() const { return groups_; }
  /// Sequences, by their place in the batch.
  [[nodiscard]] std::span<const std::uint32_t> members(const Group& g) const {
    return std::span(members_).subspan(g.begin, g.count);
  }

 private:
  [[nodiscard]] std::span<const BlockId> blocks(std::size_t member) const {
    return sequences_[members_[member]].blocks;
  }
  [[nodiscard]] bool before(std::uint32_t a, std::uint32_t b) const {
    const auto &x = sequences_[a].blocks, &y = sequences_[b].blocks;
    const auto [i, j] = std::mismatch(x.begin(), x.end(), y.begin(), y.end());
    if (i == x.end() || j == y.end()) return x.size() != y.size() ? x.size() < y.size() : a < b;
    return i->value < j->value;
  }
  /// Adds groups of members [begin, end), which are in order of their tables; returns the blocks that
  /// they save.
  std::size_t split(std::size_t begin, std::size_t end) {
    if (end - begin < 2) return 0;
    const auto first = blocks(begin), last = blocks(end - 1);
    const auto common = static_cast<std::size_t>(
        std::mismatch(first.begin(), first.end(), last.begin(), last.end()).first - first.begin());
    const std::size_t mark = groups_.size();
    const std::size_t whole = common < least_ ? 0 : (end - begin - 1) * common;
    std::size_t parts = 0;
    for (std::size_t i = begin; i < end;) {
      std::size_t stop = i + 1;
      if (blocks(i).size() > common) {
        const std::uint32_t next = blocks(i)[common].value;
        while (stop < end && blocks(stop)[common].value == next) ++stop;
      }
      parts += split(i, stop);
      i = stop;
    }
    if (whole < parts || whole == 0) return parts;
    groups_.resize(mark);
    groups_.push_back({begin, end - begin, common});
    return whole;
  }

  std::span<const SequenceRows> sequences_;  // while they are searched
  std::size_t least_ = 1;
  std::vector<std::uint32_t> members_;
  std::vector<Group> groups_;
};

}  // namespace quire::attention
