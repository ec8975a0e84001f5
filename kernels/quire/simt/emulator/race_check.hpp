#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <quire/simt/common.hpp>

namespace quire::simt::emulator {

/// Who touched each 4-byte word of a block's shared memory, and whether barriers order it.
///
/// A barrier of the block orders everything before it: `epoch` counts those. sync_warp() orders the
/// lanes that take part, by vector clocks within the warp. Two accesses by different lanes, at least
/// one a write, that neither orders are a race, whatever values they happened to see.
class RaceCheck {
 public:
  static constexpr std::size_t word_bytes = 4;

  void resize(std::size_t shared_bytes, unsigned lanes) {
    words_.assign((shared_bytes + word_bytes - 1) / word_bytes, Word{});
    lanes_.assign(lanes, Lane{});
  }
  /// A new block: what lies in shared memory is nobody's.
  void begin_block() {
    first_epoch_ = ++epoch_;
    for (std::size_t l = 0; l < lanes_.size(); ++l) {
      lanes_[l].seen.fill(0);
      lanes_[l].clock = 1;
    }
  }
  void block_barrier() { ++epoch_; }

  /// Lanes of `warp` in `mask` wait for each other.
  void warp_barrier(unsigned warp, unsigned mask) {
    std::array<std::uint32_t, warp_lanes> joined{};
    auto each = [&](auto&& f) {
      for (unsigned l = 0; l < warp_lanes; ++l) {
        if ((mask >> l & 1u) != 0) f(l, lanes_[warp * warp_lanes + l]);
      }
    };
    each([&](unsigned l, Lane& lane) {
      for (unsigned i = 0; i < warp_lanes; ++i) {
        if (lane.seen[i] > joined[i]) joined[i] = lane.seen[i];
      }
      if (lane.clock > joined[l]) joined[l] = lane.clock;
    });
    each([&](unsigned, Lane& lane) {
      lane.seen = joined;
      ++lane.clock;
    });
  }

  /// What is wrong with a read of bytes [begin, begin + bytes) by `lane`; empty: nothing.
  [[nodiscard]] std::string read(unsigned lane, std::size_t begin, std::size_t bytes) {
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      Word& word = words_[w];
      if (word.pending != 0) return "reads what an asynchronous copy still fills";
      if (word.written.epoch < first_epoch_) return "reads shared memory that nobody wrote";
      if (!ordered(word.written, lane)) {
        return "reads what " + thread(word.written) + " wrote, with no barrier between them";
      }
      note_reader(word, lane);
    }
    return {};
  }
  [[nodiscard]] std::string write(unsigned lane, std::size_t begin, std::size_t bytes,
                                  bool atomic) {
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      Word& word = words_[w];
      if (word.pending != 0) return "writes where an asynchronous copy is under way";
      if (!(atomic && word.atomic) && word.written.epoch >= first_epoch_ &&
          !ordered(word.written, lane)) {
        return "writes where " + thread(word.written) + " wrote, with no barrier between them";
      }
      for (const Access& r : word.readers) {
        if (!ordered(r, lane)) {
          return "writes what " + thread(r) + " reads, with no barrier between them";
        }
      }
      word.written = access(lane);
      word.atomic = atomic;
    }
    return {};
  }
  /// An asynchronous copy begins: until it ends nobody may touch its target.
  [[nodiscard]] std::string begin_copy(unsigned lane, std::size_t begin, std::size_t bytes) {
    std::string wrong = write(lane, begin, bytes, false);
    if (!wrong.empty()) return wrong;
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      words_[w].pending = 1;
    }
    return {};
  }
  void end_copy(unsigned lane, std::size_t begin, std::size_t bytes) {
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      words_[w].pending = 0;
      words_[w].written = access(lane);
      words_[w].atomic = false;
    }
  }
  /// After a block that failed: copies that nobody waited for.
  void forget_copies() {
    for (Word& word : words_) word.pending = 0;
  }

 private:
  struct Access {
    std::uint32_t epoch = 0, clock = 0;
    std::uint32_t lane = 0;
  };
  struct Word {
    Access written;
    std::array<Access, 3> readers;  // more than these are forgotten: a race may be missed
    std::uint8_t next = 0, pending = 0;
    bool atomic = false;
  };
  struct Lane {
    std::array<std::uint32_t, warp_lanes> seen{};
    std::uint32_t clock = 1;
  };

  [[nodiscard]] Access access(unsigned lane) const { return {epoch_, lanes_[lane].clock, lane}; }
  [[nodiscard]] bool ordered(const Access& a, unsigned lane) const {
    if (a.epoch < epoch_ || a.lane == lane) return true;
    return a.lane / warp_lanes == lane / warp_lanes &&
           lanes_[lane].seen[a.lane % warp_lanes] >= a.clock;
  }
  void note_reader(Word& word, unsigned lane) const {
    for (Access& r : word.readers) {
      if (ordered(r, lane)) {
        r = access(lane);
        return;
      }
    }
    word.readers[word.next++ % word.readers.size()] = access(lane);
  }
  static std::string thread(const Access& a) { return "thread " + std::to_string(a.lane); }

  std::uint32_t epoch_ = 1, first_epoch_ = 1;
  std::vector<Word> words_;
  std::vector<Lane> lanes_;
};

}  // namespace quire::simt::emulator
