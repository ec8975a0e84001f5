// mechanism: which part of a ring of slots is in use, and how holes in it become room again.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace quire::eviction {

/// The span of a ring of slots that are taken in order of arrival and left in any order.
///
/// Whoever owns the slots says which still hold something. When the span fills up with holes, each arrival
/// also packs 64 slots towards the newer end, which keeps the order and, where a third of the ring is enough
/// for all that is held, is done long before the room runs out: no operation ever stops to move
/// everything.
/// \complexity O(1), but pack(): 64 moves at most.
class SlotLog {
 public:
  /// Slots in which `held` things have room. \shape a multiple of 64
  [[nodiscard]] static std::size_t slots_for(std::size_t held) {
    constexpr std::size_t least = 1024;
    const std::size_t wanted = 3 * held > least ? 3 * held : least;
    return (wanted + 63) / 64 * 64;
  }
  explicit SlotLog(std::size_t slots = 0) : slots_(slots) {}

  /// No older slot than this one holds anything.
  [[nodiscard]] std::size_t head() const { return head_; }
  /// The next arrival's slot.
  [[nodiscard]] std::size_t tail() const { return tail_; }
  /// Slots from head to tail.
  [[nodiscard]] std::size_t span() const { return span_; }
  [[nodiscard]] std::size_t after(std::size_t p) const { return p + 1 == slots_ ? 0 : p + 1; }
  /// How many slots lie between the head and `p`.
  [[nodiscard]] std::size_t age(std::size_t p) const {
    // Without a branch, which no processor could foresee.
    const std::size_t wraps = p < head_ ? 1 : 0;
    return p - head_ + (slots_ & (std::size_t{0} - wraps));
  }
  /// The slot that `age` slots lie before. \pre age <= span()
  [[nodiscard]] std::size_t at(std::size_t age) const {
    const std::size_t p = head_ + age;
    return p < slots_ ? p : p - slots_;
  }
  /// Whether an arrival must be preceded by pack().
  [[nodiscard]] bool crowded() const { return span_ > slots_ - slots_ / 8; }

  /// Gives the slot at the tail away. \pre there is room
  std::size_t take() {
    const std::size_t p = tail_;
    tail_ = after(p);
    ++span_;
    return p;
  }
  /// take(), or nothing, without a branch.
  void take_if(bool wanted) {
    const std::size_t all = std::size_t{0} - static_cast<std::size_t>(wanted);
    tail_ = (after(tail_) & all) | (tail_ & ~all);
    span_ += static_cast<std::size_t>(wanted);
  }

  /// Moves the head over holes, unless pack() is under way. oldest(): as pack()'s; returns by how many slots.
  template <class Oldest>
  std::size_t advance(Oldest oldest) {
    return packing_ ? 0 : move_head(oldest());
  }
  /// One bounded part of the work that turns holes into room. oldest(): a slot that is not newer than
  /// any that holds something, as new as is known; word(w): which of slots 64 * w and on do;
  /// move(from, to): moves what slot `from` holds to the newer one `to`. Returns by how many slots the
  /// head moved, over nothing. \pre crowded()
  template <class Oldest, class Word, class Move>
  std::size_t pack(Oldest oldest, Word word, Move move) {
    std::size_t freed = 0;
    if (!packing_) {
      // Holes at the old end cost nothing: the head moves over them.
      freed = move_head(oldest());
      if (!crowded()) return freed;
      packing_ = true;
      read_ = before_word(tail_ / 64);  // the tail's own word still grows: it stays as it is
      write_ = read_ * 64 + 63;
    }
    const std::size_t base = read_ * 64;
    std::uint64_t left = word(read_);
    while (left != 0) {
      const std::size_t bit = 63 - static_cast<std::size_t>(std::countl_zero(left));
      left &= ~(std::uint64_t{1} << bit);
      if (base + bit != write_) move(base + bit, write_);
      write_ = write_ == 0 ? slots_ - 1 : write_ - 1;
    }
    if (read_ == head_ / 64) {
      freed += move_head(after(write_));
      packing_ = false;
    } else {
      read_ = before_word(read_);
    }
    return freed;
  }

 private:
  [[nodiscard]] std::size_t before_word(std::size_t w) const {
    return (w == 0 ? slots_ / 64 : w) - 1;
  }
  std::size_t move_head(std::size_t p) {
    const std::size_t by = age(p);
    head_ = p;
    span_ -= by;
    return by;
  }

  std::size_t slots_;
  std::size_t head_ = 0, tail_ = 0, span_ = 0;
  bool packing_ = false;
  std::size_t read_ = 0;   // next word to pack, going to older slots
  std::size_t write_ = 0;  // next packed slot
};

}  // namespace quire::eviction
