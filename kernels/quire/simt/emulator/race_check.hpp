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
/// lanes that take part, by vector clocks within the warp; barriers that some warps meet at, and those
/// that asynchronous copies arrive at, order by clocks of the whole block, which are kept from the first
/// of them on. Two accesses by different lanes, at least one a write, that neither orders are a race,
/// whatever values they happened to see.
class RaceCheck {
 public:
  static constexpr std::size_t word_bytes = 4;
  /// What a barrier carries from those that arrive to those that wait. \shape (lanes)
  using Clocks = std::vector<std::uint32_t>;

  void resize(std::size_t shared_bytes, unsigned lanes) {
    words_.assign((shared_bytes + word_bytes - 1) / word_bytes, Word{});
    lanes_.assign(lanes, Lane{Clocks(lanes, 0), 1, {}});
  }
  /// A new block: what lies in shared memory is nobody's.
  void begin_block() {
    first_epoch_ = ++epoch_;
    block_wide_ = false;
    for (Lane& lane : lanes_) {
      lane.seen.assign(lanes_.size(), 0);
      lane.clock = 1;
      lane.fences.clear();
    }
  }
  void block_barrier() { ++epoch_; }

  /// Lanes of `warp` in `mask` wait for each other.
  void warp_barrier(unsigned warp, unsigned mask) {
    const std::size_t first = block_wide_ ? 0 : warp * warp_lanes;
    const std::size_t count = block_wide_ ? lanes_.size() : warp_lanes;
    joined_.assign(lanes_.size(), 0);
    auto each = [&](auto&& f) {
      for (unsigned l = 0; l < warp_lanes; ++l) {
        if ((mask >> l & 1u) != 0) f(warp * warp_lanes + l, lanes_[warp * warp_lanes + l]);
      }
    };
    each([&](unsigned l, Lane& lane) {
      for (std::size_t i = first; i < first + count; ++i) {
        if (lane.seen[i] > joined_[i]) joined_[i] = lane.seen[i];
      }
      if (lane.clock > joined_[l]) joined_[l] = lane.clock;
    });
    each([&](unsigned, Lane& lane) {
      for (std::size_t i = first; i < first + count; ++i) lane.seen[i] = joined_[i];
      ++lane.clock;
    });
  }
  /// What `lane` did and saw is handed on.
  void release(unsigned lane, Clocks& to) {
    block_wide_ = true;
    Lane& from = lanes_[lane];
    to.resize(lanes_.size(), 0);
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (from.seen[i] > to[i]) to[i] = from.seen[i];
    }
    if (from.clock > to[lane]) to[lane] = from.clock;
    ++from.clock;
  }
  void acquire(unsigned lane, const Clocks& from) {
    Clocks& to = lanes_[lane].seen;
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (from[i] > to[i]) to[i] = from[i];
    }
  }
  /// What `lane` wrote so far may be read by the units beside the lanes.
  void fence_async(unsigned lane) {
    Lane& of = lanes_[lane];
    of.fences.push_back({epoch_, of.clock++, lane});
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
      word.by_lane = true;
    }
    return {};
  }
  /// As read(), by a unit beside the lanes on behalf of `lane`: it sees what a lane wrote only after
  /// that lane's fence_async().
  [[nodiscard]] std::string read_async(unsigned lane, std::size_t begin, std::size_t bytes) {
    std::string wrong = read(lane, begin, bytes);
    return wrong.empty() ? unfenced(lane, begin, bytes) : wrong;
  }
  /// A bulk copy begins on behalf of `lane`; the result is the time that its end is known by.
  [[nodiscard]] std::string begin_bulk(unsigned lane, std::size_t begin, std::size_t bytes) {
    std::string wrong = unfenced(lane, begin, bytes);
    return wrong.empty() ? begin_copy(lane, begin, bytes) : wrong;
  }
  [[nodiscard]] std::uint32_t end_of_issue(unsigned lane) { return lanes_[lane].clock++; }
  void end_bulk(unsigned lane, std::uint32_t clock, std::size_t begin, std::size_t bytes) {
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      words_[w].pending = 0;
      words_[w].written = {epoch_, clock, lane};
      words_[w].by_lane = false;
    }
  }
  /// A time of a lane's, and whether `lane` comes after it.
  struct Access {
    std::uint32_t epoch = 0, clock = 0;
    std::uint32_t lane = 0;
  };
  [[nodiscard]] Access access(unsigned lane) const { return {epoch_, lanes_[lane].clock, lane}; }
  [[nodiscard]] bool ordered(const Access& a, unsigned lane) const {
    if (a.epoch < epoch_ || a.lane == lane) return true;
    return lanes_[lane].seen[a.lane] >= a.clock;
  }

  /// The words of a barrier: nobody reads or writes them.
  void set_aside(std::size_t begin, std::size_t bytes) {
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      words_[w].pending = 1;
    }
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
  struct Word {
    Access written;
    std::array<Access, 3> readers;  // more than these are forgotten: a race may be missed
    std::uint8_t next = 0, pending = 0;
    bool atomic = false;
    bool by_lane = false;  // rather than by a unit beside the lanes
  };
  struct Lane {
    Clocks seen;
    std::uint32_t clock = 1;
    std::vector<Access> fences;
  };

  /// What is wrong where lanes wrote and did not fence, or `lane` cannot know that they did.
  [[nodiscard]] std::string unfenced(unsigned lane, std::size_t begin, std::size_t bytes) const {
    for (std::size_t w = begin / word_bytes; w * word_bytes < begin + bytes; ++w) {
      const Word& word = words_[w];
      if (!word.by_lane || word.written.epoch < first_epoch_) continue;
      bool fenced = false;
      for (const Access& fence : lanes_[word.written.lane].fences) {
        const bool after = fence.epoch > word.written.epoch || fence.clock >= word.written.clock;
        fenced = fenced || (after && ordered(fence, lane));
      }
      if (!fenced) {
        return "asynchronously reaches what " + thread(word.written) +
               " wrote, with no fence_async() after it";
      }
    }
    return {};
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
  bool block_wide_ = false;
  std::vector<Word> words_;
  std::vector<Lane> lanes_;
  Clocks joined_;
};

}  // namespace quire::simt::emulator
