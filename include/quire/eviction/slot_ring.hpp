// mechanism: the places of a queue of blocks, among which the oldest that may go is found.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <quire/core/error.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/slot_bits.hpp>
#include <quire/eviction/slot_log.hpp>

namespace quire::eviction {

/// Slots that blocks take in order of arrival, each with two flags: evictable, and (with Marks) marked.
///
/// The ring has room for three times the capacity, and whoever owns it remembers which slot a block is
/// in. Taking a block out leaves a hole, so that moving a block to the back touches one random word (its
/// slot, as its owner keeps it) and no neighbours, unlike a linked list. Bitmaps over the slots say
/// which are taken, evictable, and evictable but not marked. When the ring fills up with holes, each
/// append also packs 64 slots towards the newer end, which keeps the order and is done long before the
/// room runs out: no operation ever stops to move everything. Where blocks get another slot, the
/// owner's `moved(block, slot)` is called.
///
/// \complexity append, erase, move_to_back, flags O(1) amortised and O(64) worst, but for summary
///             levels of the bitmaps; searches O(log64 n). No allocation after construction.
template <bool Marks>
class SlotRing {
 public:
  using Slot = std::uint32_t;

  explicit SlotRing(BlockCount capacity)
      : slots_(SlotLog::slots_for(checked(capacity))),
        bits_(slots_.size()),
        marks_(Marks ? slots_.size() / 64 : 0),
        log_(slots_.size()) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool evictable(Slot p) const { return bits_.test(offered, p); }
  [[nodiscard]] bool marked(Slot p) const requires Marks { return mark(p); }

  /// Puts a block at the back, not marked. \pre it has no slot here
  template <class Moved>
  void append(BlockId b, bool evictable, Moved moved) {
    make_room(moved);
    const std::size_t p = take_slot(b, moved);
    bits_.set(taken, p);
    ++size_;
    if (!evictable) return;
    bits_.set(offered, p);
    if constexpr (Marks) bits_.set(candidates, p);
  }

  /// Empties a taken slot.
  void erase(Slot p) {
    bits_.clear(taken, p);
    bits_.clear(offered, p);
    if constexpr (Marks) {
      bits_.clear(candidates, p);
      set_mark(p, false);
    }
    --size_;
  }

  /// Moves a block to the back with its flags, from another ring or from this one. place: says which slot
  /// it is in
  template <class Place, class Moved>
  void move_to_back(BlockId b, SlotRing& from, Place place, Moved moved) {
    make_room(moved);  // may move b
    const std::size_t p = place(b);
    relocate(from, p, take_slot(b, moved));
    --from.size_;
    ++size_;
  }

  void set_evictable(Slot p, bool value) {
    bits_.assign(offered, p, value);
    if constexpr (Marks) bits_.assign(candidates, p, value && !mark(p));
  }
  void set_marked(Slot p, bool value) requires Marks {
    if (mark(p) == value) return;
    set_mark(p, value);
    if (bits_.test(offered, p)) bits_.assign(candidates, p, !value);
  }

  [[nodiscard]] bool any_evictable() const { return bits_.any(offered); }
  /// The oldest block, evictable or not.
  [[nodiscard]] std::optional<BlockId> oldest() const { return first(taken); }
  /// The oldest evictable block.
  [[nodiscard]] std::optional<BlockId> oldest_evictable() const { return first(offered); }
  /// The oldest block that is evictable and not marked.
  [[nodiscard]] std::optional<BlockId> oldest_candidate() const requires Marks {
    return first(candidates);
  }
  /// The newest evictable block.
  [[nodiscard]] std::optional<BlockId> newest_evictable() const {
    if (!any_evictable()) return std::nullopt;
    const std::size_t p = bits_.prev(offered, log_.tail());  // that slot is empty
    return slots_[p != none ? p : bits_.prev(offered, slots_.size() - 1)];
  }
  /// The evictable block that is next after the oldest one. \pre one is evictable
  [[nodiscard]] std::optional<BlockId> second_evictable() const {
    const std::size_t oldest = bits_.around(offered, log_.head());
    return no_older(offered, oldest, log_.after(oldest));
  }
  /// The block next newer than slot `p`, evictable or not. \pre p is taken
  [[nodiscard]] std::optional<BlockId> newer(Slot p) const {
    return no_older(taken, p, log_.after(p));
  }
  /// The oldest evictable block in slot `p` or newer. \pre p is taken
  [[nodiscard]] std::optional<BlockId> evictable_from(Slot p) const {
    return no_older(offered, p, p);
  }
  /// The oldest unmarked evictable block in slot `p` or newer. \pre p is taken
  [[nodiscard]] std::optional<BlockId> candidate_from(Slot p) const requires Marks {
    return no_older(candidates, p, p);
  }

  /// Clears the marks of the evictable blocks from `first` up to, not including, `last`; empty
  /// bounds mean the oldest block, and past the newest. Blocks that are not evictable keep theirs.
  /// \pre first is not newer than last. \complexity O(slots between / 64)
  void unmark_evictable(std::optional<Slot> first, std::optional<Slot> last) requires Marks {
    const std::size_t begin = first ? *first : log_.head();
    const std::size_t end = last ? *last : log_.tail();
    if (begin <= end) return unmark_range(begin, end);
    unmark_range(begin, slots_.size());
    unmark_range(0, end);
  }

 private:
  /// Slots are below 2^31: who keeps them has a bit to spare.
  static std::size_t checked(BlockCount capacity) {
    constexpr std::int64_t most = std::int64_t{1} << 29;
    if (capacity.value <= 0 || capacity.value > most) {
      throw usage_error("eviction", "cannot order " + std::to_string(capacity.value) + " blocks",
                        "a capacity from 1 to 2^29 blocks");
    }
    return static_cast<std::size_t>(capacity.value);
  }

  using Bits = SlotBits<Marks ? 3 : 2>;
  static constexpr std::size_t none = Bits::npos;
  // Flags. Marks lie apart: most hits look at nothing else.
  static constexpr std::size_t taken = 0, offered = 1;
  static constexpr std::size_t candidates = 2;  // evictable and not marked

  static std::uint64_t bit(std::size_t p) { return std::uint64_t{1} << (p % 64); }
  [[nodiscard]] bool mark(std::size_t p) const { return (marks_[p / 64] & bit(p)) != 0; }
  void set_mark(std::size_t p, bool value) {
    std::uint64_t& word = marks_[p / 64];
    word = value ? word | bit(p) : word & ~bit(p);
  }

  [[nodiscard]] std::optional<BlockId> first(std::size_t flag) const {
    const std::size_t found = bits_.around(flag, log_.head());
    return found == none ? std::nullopt : std::optional(slots_[found]);
  }
  /// First slot at or after `p` that has the flag and is not older than slot `bound`.
  [[nodiscard]] std::optional<BlockId> no_older(std::size_t flag, std::size_t bound,
                                                std::size_t p) const {
    const std::size_t found = bits_.around(flag, p);
    if (found == none || log_.age(found) < log_.age(bound)) return std::nullopt;
    if (found == bound && p != bound) return std::nullopt;  // went all the way round
    return slots_[found];
  }

  /// Gives the block the slot at the tail; the caller sets the slot's bits.
  template <class Moved>
  std::size_t take_slot(BlockId b, Moved moved) {
    const std::size_t p = log_.take();
    slots_[p] = b;
    moved(b, static_cast<Slot>(p));
    return p;
  }

  /// Moves the bits of slot `p` of a ring to slot `to` of this one.
  void relocate(SlotRing& from, std::size_t p, std::size_t to) {
    from.bits_.clear(taken, p);
    bits_.set(taken, to);
    if (from.bits_.test(offered, p)) {
      from.bits_.clear(offered, p);
      bits_.set(offered, to);
    }
    if constexpr (Marks) {
      if (from.bits_.test(candidates, p)) {
        from.bits_.clear(candidates, p);
        bits_.set(candidates, to);
      }
      if (from.mark(p)) {
        from.set_mark(p, false);
        set_mark(to, true);
      }
    }
  }

  /// One bounded part of the work that turns holes into room, where that is short.
  template <class Moved>
  void make_room(Moved moved) {
    if (!log_.crowded()) return;
    const auto oldest = [this] {
      const std::size_t p = bits_.around(taken, log_.head());
      return p != none ? p : log_.tail();
    };
    const auto word = [this](std::size_t w) { return bits_.word(taken, w); };
    (void)log_.pack(oldest, word, [&](std::size_t from, std::size_t to) {
      const BlockId b = slots_[from];
      slots_[to] = b;
      moved(b, static_cast<Slot>(to));
      relocate(*this, from, to);
    });
  }

  void unmark_range(std::size_t begin, std::size_t end) {
    while (begin < end) {
      const std::size_t w = begin / 64;
      const std::size_t stop = std::min(end, w * 64 + 64);
      std::uint64_t range = ~std::uint64_t{0} << (begin % 64);
      if (stop % 64 != 0) range &= ~(~std::uint64_t{0} << (stop % 64));
      const std::uint64_t cleared = marks_[w] & bits_.word(offered, w) & range;
      if (cleared != 0) {
        marks_[w] &= ~cleared;
        bits_.merge(candidates, w, cleared);
      }
      begin = stop;
    }
  }

  huge_vector<BlockId> slots_;  // \shape (ring)
  Bits bits_;
  huge_vector<std::uint64_t> marks_;  // \shape (ring / 64)
  SlotLog log_;
  std::size_t size_ = 0;
};

}  // namespace quire::eviction
