// mechanism: how often a content was asked for lately, in a few bits a block of capacity.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <quire/core/huge_vector.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::eviction {

/// A count-min sketch of 4-bit counters that halves itself after every ten additions a block of
/// capacity. A word's halving is done when the word is next touched, so that no addition ever stops
/// to halve them all.
/// \complexity add, estimate O(1): one cache line. No allocation after construction.
/// \source Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", TOS 2017.
/// Deviations: no doorkeeper; at least one word of 16 counters a block; a content's counters lie in
/// one cache line, a word a row.
class FrequencySketch {
 public:
  static constexpr std::size_t rows = 4;
  static constexpr std::uint32_t most = 15;

  explicit FrequencySketch(BlockCount capacity)
      : lines_(std::bit_ceil(static_cast<std::size_t>(capacity.value + 3) / rows)),
        period_(10 * static_cast<std::uint64_t>(capacity.value)) {}

  /// Fetches what the next question about a content, or its addition, will look at.
  void prefetch(std::uint64_t content) const {
    quire::prefetch(&lines_[place(content, 0).word / rows]);
  }

  /// Counts one request. Content 0 is unknown and not counted.
  void add(std::uint64_t content) {
    if (content == 0) return;
    for (std::size_t row = 0; row < rows; ++row) {
      const Place at = place(content, row);
      Word& word = lines_[at.word / rows].words[at.word % rows];
      word.counters = halved(word);
      word.halvings = halvings_;
      if (((word.counters >> at.shift) & most) < most) {
        word.counters += std::uint64_t{1} << at.shift;
      }
    }
    if (++additions_ >= period_) {
      ++halvings_;
      additions_ /= 2;
    }
  }

  /// At least as often as the content was asked for since counters were last halved, up to 15.
  [[nodiscard]] std::uint32_t estimate(std::uint64_t content) const {
    if (content == 0) return 0;
    std::uint32_t least = most;
    for (std::size_t row = 0; row < rows; ++row) {
      const Place at = place(content, row);
      least = std::min(
          least, static_cast<std::uint32_t>(
                     halved(lines_[at.word / rows].words[at.word % rows]) >> at.shift & most));
    }
    return least;
  }

  [[nodiscard]] Bytes bytes() const {
    return static_cast<std::int64_t>(lines_.size() * sizeof(Line));
  }

  struct Place {
    std::size_t word;
    std::uint32_t shift;
  };
  /// Where a content's counter of a row is.
  [[nodiscard]] Place place(std::uint64_t content, std::size_t row) const {
    const std::uint64_t hash = mix64(content);
    return {(hash & (lines_.size() - 1)) * rows + row,
            static_cast<std::uint32_t>(hash >> (48 + 4 * row) & 15) * 4};
  }

 private:
  struct Word {
    std::uint64_t counters = 0;
    std::uint64_t halvings = 0;  // that it has seen
  };
  [[nodiscard]] std::uint64_t halved(const Word& word) const {
    std::uint64_t counters = word.counters;
    // Four halvings empty any counter.
    for (std::uint64_t i = std::min<std::uint64_t>(4, halvings_ - word.halvings); i > 0; --i) {
      counters = counters >> 1 & 0x7777777777777777u;
    }
    return counters;
  }

  struct alignas(64) Line {
    Word words[rows];
  };

  huge_vector<Line> lines_;
  std::uint64_t period_;
  std::uint64_t additions_ = 0;
  std::uint64_t halvings_ = 0;
};

}  // namespace quire::eviction
