// mechanism: a set of small integers whose next or previous member is found in O(log64 n).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include <quire/core/huge_vector.hpp>

namespace quire::eviction {

/// A bitmap with summary levels above it: bit w of level l + 1 says that word w of level l is not
/// zero. A step up or down handles 64 times more bits, so ten million bits are five steps deep.
/// \complexity test O(1); set, clear, next, prev O(log64 n) worst, O(1) when neighbours are set.
class BitTree {
 public:
  static constexpr std::size_t npos = ~std::size_t{0};

  explicit BitTree(std::size_t bits = 0) {
    std::size_t words = 0;
    for (std::size_t n = bits;;) {
      n = n / 64 + 1;  // one word more than needed at most, so that an empty tree has a word too
      begin_[levels_++] = words;
      words += n;
      if (n == 1) break;
    }
    begin_[levels_] = words;
    words_.assign(words, 0);
  }

  [[nodiscard]] bool test(std::size_t i) const { return (words_[i / 64] >> (i % 64) & 1) != 0; }
  [[nodiscard]] bool any() const { return words_[begin_[levels_ - 1]] != 0; }

  void set(std::size_t i) {
    for (std::size_t l = 0; l < levels_; ++l) {
      std::uint64_t& word = words_[begin_[l] + i / 64];
      const std::uint64_t before = word;
      word |= std::uint64_t{1} << (i % 64);
      if (before != 0) return;
      i /= 64;
    }
  }

  void clear(std::size_t i) {
    for (std::size_t l = 0; l < levels_; ++l) {
      std::uint64_t& word = words_[begin_[l] + i / 64];
      if (word == 0) return;
      word &= ~(std::uint64_t{1} << (i % 64));
      if (word != 0) return;
      i /= 64;
    }
  }

  void assign(std::size_t i, bool value) { value ? set(i) : clear(i); }

  /// The first member >= i, or npos.
  [[nodiscard]] std::size_t next(std::size_t i) const {
    std::size_t l = 0;
    for (;;) {
      const std::size_t w = i / 64;
      if (begin_[l] + w >= begin_[l + 1]) return npos;
      const std::uint64_t rest = words_[begin_[l] + w] & (~std::uint64_t{0} << (i % 64));
      if (rest != 0) {
        i = w * 64 + static_cast<std::size_t>(std::countr_zero(rest));
        break;
      }
      if (++l == levels_) return npos;
      i = w + 1;
    }
    while (l-- > 0) {
      i = i * 64 + static_cast<std::size_t>(std::countr_zero(words_[begin_[l] + i]));
    }
    return i;
  }

  /// The last member <= i, or npos. \pre i is below the size
  [[nodiscard]] std::size_t prev(std::size_t i) const {
    std::size_t l = 0;
    for (;;) {
      const std::size_t w = i / 64;
      const std::uint64_t rest = words_[begin_[l] + w] & (~std::uint64_t{0} >> (63 - i % 64));
      if (rest != 0) {
        i = w * 64 + 63 - static_cast<std::size_t>(std::countl_zero(rest));
        break;
      }
      if (++l == levels_ || w == 0) return npos;
      i = w - 1;
    }
    while (l-- > 0) {
      i = i * 64 + 63 - static_cast<std::size_t>(std::countl_zero(words_[begin_[l] + i]));
    }
    return i;
  }

 private:
  std::size_t begin_[12]{};  // first word of each level; 64^11 bits are more than any memory
  std::size_t levels_ = 0;
  huge_vector<std::uint64_t> words_;
};

}  // namespace quire::eviction
