// mechanism: flags of the slots of a ring, whose next or previous slot with a flag is found fast.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <quire/core/huge_vector.hpp>
#include <quire/eviction/bit_tree.hpp>

namespace quire::eviction {

/// `Lanes` flags of each of some slots, all clear at first.
/// Sixty-four slots' bits of every flag lie together, so that a slot is one line to look at.
/// \complexity test O(1); the others O(log64 n) worst, O(1) when neighbours have the flag.
template <std::size_t Lanes>
class SlotBits {
 public:
  static constexpr std::size_t npos = BitTree::npos;

  /// \pre slots is a multiple of 64, and not 0
  explicit SlotBits(std::size_t slots) : bits_(slots / 64) {
    for (BitTree& words : words_) words = BitTree(bits_.size());
  }

  [[nodiscard]] bool any(std::size_t lane) const { return words_[lane].any(); }
  [[nodiscard]] bool test(std::size_t lane, std::size_t p) const {
    return (bits_[p / 64][lane] >> (p % 64) & 1) != 0;
  }
  /// The flags of slots 64 * w and on.
  [[nodiscard]] std::uint64_t word(std::size_t lane, std::size_t w) const { return bits_[w][lane]; }

  void set(std::size_t lane, std::size_t p) { merge(lane, p / 64, bit(p)); }
  /// Adds all bits of `added` to the word `w`. \pre added != 0
  void merge(std::size_t lane, std::size_t w, std::uint64_t added) {
    std::uint64_t& word = bits_[w][lane];
    const std::uint64_t before = word;
    word = before | added;
    if (before == 0) words_[lane].set(w);
  }
  void clear(std::size_t lane, std::size_t p) {
    std::uint64_t& word = bits_[p / 64][lane];
    if (word == 0) return;
    word &= ~bit(p);
    if (word == 0) words_[lane].clear(p / 64);
  }
  void assign(std::size_t lane, std::size_t p, bool value) {
    value ? set(lane, p) : clear(lane, p);
  }

  /// The first slot >= p that has the flag, or npos.
  [[nodiscard]] std::size_t next(std::size_t lane, std::size_t p) const {
    std::size_t w = p / 64;
    if (w >= bits_.size()) return npos;
    std::uint64_t word = bits_[w][lane] & (~std::uint64_t{0} << (p % 64));
    if (word == 0) {
      w = words_[lane].next(w + 1);
      if (w == npos) return w;
      word = bits_[w][lane];
    }
    return w * 64 + static_cast<std::size_t>(std::countr_zero(word));
  }
  /// The last slot <= p that has the flag, or npos. \pre p is a slot
  [[nodiscard]] std::size_t prev(std::size_t lane, std::size_t p) const {
    std::size_t w = p / 64;
    std::uint64_t word = bits_[w][lane] & (~std::uint64_t{0} >> (63 - p % 64));
    if (word == 0) {
      w = w == 0 ? npos : words_[lane].prev(w - 1);
      if (w == npos) return w;
      word = bits_[w][lane];
    }
    return w * 64 + 63 - static_cast<std::size_t>(std::countl_zero(word));
  }
  /// The first slot in word `w` or later ones that has the flag, or npos. Where flags are few it costs fewer
  /// surprises than next(), which looks at a word before it asks which words are worth that.
  [[nodiscard]] std::size_t first_from_word(std::size_t lane, std::size_t w) const {
    w = words_[lane].next(w);
    return w == npos ? w : w * 64 + static_cast<std::size_t>(std::countr_zero(bits_[w][lane]));
  }
  /// First slot at or after `p` that has the flag, going round once, or npos.
  [[nodiscard]] std::size_t around(std::size_t lane, std::size_t p) const {
    const std::size_t found = next(lane, p);
    return found != npos ? found : next(lane, 0);
  }

 private:
  static std::uint64_t bit(std::size_t p) { return std::uint64_t{1} << (p % 64); }

  huge_vector<std::array<std::uint64_t, Lanes>> bits_;
  std::array<BitTree, Lanes> words_;  // those that are not zero
};

}  // namespace quire::eviction
