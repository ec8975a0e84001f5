// mechanism: queues of blocks that go to the back whenever they are used.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <quire/core/error.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/slot_bits.hpp>
#include <quire/eviction/slot_log.hpp>

namespace quire::eviction {

/// One or two queues of blocks in order of arrival at the back, each block in one at most, and evictable
/// or not.
///
/// A queue is a log of arrivals: a ring of three times the capacity. Which queue and slot a block is in,
/// and whether it is evictable, is one word of four bytes; a bit a slot says whether the block that came
/// there is there still. A block moves to the back by an entry there, by its word, and by the bit of the slot it
/// leaves: one random line of memory to wait for, and one that nothing waits for.
///
/// The oldest part of a log is settled: more bitmaps, with summaries, say which of its entries are live
/// and which evictable, and the oldest of either is found there. While fewer than 64 and a 1024th of the capacity
/// is evictable in it, every operation settles up to 4,096 slots more. No operation takes away more than
/// one, so by the time the last would go the whole log has been settled: there is an evictable block in
/// the settled part, or none at all. When a ring fills up with dead entries, each arrival also packs 64
/// slots towards the newer end, which keeps the order and is done long before the room runs out.
///
/// \complexity append, erase, move_to_back, set_evictable O(1) amortised and O(4096) worst, but for summary
///             levels of the bitmaps; searches O(log64 n). No allocation after construction.
template <std::size_t Queues>
class RecencyQueues {
  static_assert(Queues == 1 || Queues == 2, "quire: eviction: a block's queue is one bit");

 public:
  enum class Queue : std::uint32_t { first, second };

  explicit RecencyQueues(BlockCount capacity)
      : enough_settled_(static_cast<std::size_t>(capacity.value) / 1024 + 64),
        places_(checked(capacity), absent) {
    for (std::size_t q = 0; q < Queues; ++q) rings_[q] = Ring(SlotLog::slots_for(places_.size()));
  }

  /// Fetches what the next operation on a block will look at.
  void prefetch(BlockId b) const { quire::prefetch(&places_[b.value]); }

  [[nodiscard]] std::size_t size(Queue q = Queue::first) const { return size_[index(q)]; }
  [[nodiscard]] bool contains(BlockId b) const { return places_[b.value] != absent; }
  /// \pre present
  [[nodiscard]] Queue queue(BlockId b) const { return static_cast<Queue>(places_[b.value] >> 31); }
  /// \pre present
  [[nodiscard]] bool evictable(BlockId b) const { return (places_[b.value] & offered) != 0; }

  /// Puts a block at the back. \pre absent
  void append(Queue q, BlockId b, bool evictable = false) {
    make_room(q);
    ++size_[index(q)];
    enter(q, b, evictable ? offered : 0);
  }
  /// \pre present
  void erase(BlockId b) {
    const std::uint32_t place = places_[b.value];
    places_[b.value] = absent;
    --size_[index(queue_of(place))];
    vacate(place);
    settle_if_needed(queue_of(place));
  }
  // What every hit does is inlined, and what few do is not, against g++'s own choice: it weighs size.
  /// Moves a block to the back of that queue, from whichever it is in. \pre present
  [[gnu::always_inline]] void move_to_back(Queue q, BlockId b) {
    make_room(q);  // may move b
    const std::uint32_t place = places_[b.value];
    vacate(place);
    enter(q, b, place & offered);
    if constexpr (Queues == 1) return;
    // Both counts, at addresses that are known before the place is: what follows need not wait for it.
    const std::size_t changes = queue_of(place) == q ? 0 : 1;
    size_[index(q)] += changes;
    size_[index(other(q))] -= changes;
    settle_if_needed(other(q));
  }
  /// Moves a block to the back of its queue where that is `q`; one of the other queue stays where it is.
  /// Which of both is decided by no branch. \pre present
  [[gnu::always_inline]] void refresh(Queue q, BlockId b) {
    make_room(q);  // may move b
    Ring& ring = rings_[index(q)];
    const std::uint32_t place = places_[b.value];
    const std::uint32_t here = queue_of(place) == q ? 1 : 0;
    const std::size_t p = place & slot_bits;
    ring.live[p / 64] &= ~(std::uint64_t{here} << (p % 64));
    if ((here & std::uint32_t{ring.settles(p)}) != 0) unsettle(ring, p, place);
    // The slot at the tail is nobody's: it may be written to, and not be taken.
    const std::size_t back = ring.log.tail();
    ring.put(back, b);
    const std::uint32_t moved = place_of(q, back) | (place & offered);
    places_[b.value] = place ^ ((place ^ moved) & (std::uint32_t{0} - here));
    ring.log.take_if(here != 0);
    settle_if_needed(q);
  }
  /// \pre present
  void set_evictable(BlockId b, bool value) {
    const std::uint32_t place = places_[b.value];
    places_[b.value] = value ? place | offered : place & ~offered;
    const Queue q = queue_of(place);
    Ring& ring = rings_[index(q)];
    const std::size_t p = place & slot_bits;
    if (ring.settles(p) && ring.bits.test(is_evictable, p) != value) {
      ring.assign_evictable(p, value);
    }
    settle_if_needed(q);
  }

  // Where there is one queue.
  void append(BlockId b, bool evictable = false) requires(Queues == 1) {
    append(Queue::first, b, evictable);
  }
  void move_to_back(BlockId b) requires(Queues == 1) { move_to_back(Queue::first, b); }

  [[nodiscard]] bool any_evictable(Queue q = Queue::first) const {
    return rings_[index(q)].settled_evictable != 0;
  }
  /// The oldest block, evictable or not.
  [[nodiscard]] std::optional<BlockId> oldest(Queue q = Queue::first) const {
    return first(q, is_live);
  }
  [[nodiscard]] std::optional<BlockId> oldest_evictable(Queue q = Queue::first) const {
    return first(q, is_evictable);
  }
  /// The oldest evictable block and the one next to it in that order, where that is known already; what
  /// removing the first will look at is fetched. The second is a hint, which should decide nothing.
  [[nodiscard]] std::array<std::optional<BlockId>, 2> prefetch_oldest(Queue q) const {
    const Ring& ring = rings_[index(q)];
    const std::size_t p = ring.first(is_evictable);
    if (p == none) return {};
    prefetch(ring.slots[p]);
    const std::size_t then = ring.bits.around(is_evictable, ring.log.after(p));
    return {ring.slots[p], then == p ? std::nullopt : std::optional(ring.slots[then])};
  }

 private:
  // A block's word: its slot, whether it is evictable, its queue.
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t offered = std::uint32_t{1} << 30;
  static constexpr std::uint32_t slot_bits = offered - 1;

  using Bits = SlotBits<2>;
  static constexpr std::size_t none = Bits::npos;
  static constexpr std::size_t is_live = 0, is_evictable = 1;  // lanes, of settled slots

  struct Ring {
    Ring() = default;
    explicit Ring(std::size_t n) : slots(n), live(n / 64), bits(n), log(n) {}

    huge_vector<BlockId> slots;
    huge_vector<std::uint64_t>
        live;  // a bit a slot; those from the tail on, in its word, say nothing
    Bits bits{64};
    SlotLog log;
    std::size_t settled = 0;  // slots from the head on that the bits describe; no other has any
    std::size_t settled_evictable = 0;

    void set_dead(std::size_t p) { live[p / 64] &= ~(std::uint64_t{1} << (p % 64)); }
    /// \pre p is at the tail
    void put(std::size_t p, BlockId b) {
      if (p % 64 == 0) live[p / 64] = ~std::uint64_t{0};
      slots[p] = b;
    }
    [[nodiscard]] bool settles(std::size_t p) const { return log.age(p) < settled; }
    /// The oldest settled slot with that bit, or none.
    [[nodiscard]] std::size_t first(std::size_t lane) const {
      const std::size_t found = bits.first_from_word(lane, log.head() / 64);
      return found != none ? found : bits.first_from_word(lane, 0);
    }
    /// The oldest slot that may be live.
    [[nodiscard]] std::size_t oldest() const {
      const std::size_t found = first(is_live);
      return found != none ? found : log.at(settled);
    }
    /// \pre p is settled
    void assign_evictable(std::size_t p, bool value) {
      bits.assign(is_evictable, p, value);
      value ? ++settled_evictable : --settled_evictable;
    }
    void passed(std::size_t slots_passed) { settled -= std::min(slots_passed, settled); }
  };

  static std::size_t checked(BlockCount capacity) {
    constexpr std::int64_t most = std::int64_t{1} << 28;
    if (capacity.value <= 0 || capacity.value > most) {
      throw usage_error("eviction", "cannot order " + std::to_string(capacity.value) + " blocks",
                        "a capacity from 1 to 2^28 blocks");
    }
    return static_cast<std::size_t>(capacity.value);
  }
  static std::size_t index(Queue q) { return Queues == 1 ? 0 : static_cast<std::size_t>(q); }
  static Queue other(Queue q) { return q == Queue::first ? Queue::second : Queue::first; }
  static Queue queue_of(std::uint32_t place) {
    return Queues == 1 ? Queue::first : static_cast<Queue>(place >> 31);
  }
  static std::uint32_t place_of(Queue q, std::size_t p) {
    return static_cast<std::uint32_t>(p) | static_cast<std::uint32_t>(index(q)) << 31;
  }

  [[nodiscard]] std::optional<BlockId> first(Queue q, std::size_t lane) const {
    const Ring& ring = rings_[index(q)];
    const std::size_t found = ring.first(lane);
    return found == none ? std::nullopt : std::optional(ring.slots[found]);
  }

  /// Takes a slot's bits out, where it has some.
  [[gnu::always_inline]] void vacate(std::uint32_t place) {
    Ring& ring = rings_[index(queue_of(place))];
    const std::size_t p = place & slot_bits;
    ring.set_dead(p);
    if (ring.settles(p)) unsettle(ring, p, place);
  }
  [[gnu::noinline]] static void unsettle(Ring& ring, std::size_t p, std::uint32_t place) {
    ring.bits.clear(is_live, p);
    if ((place & offered) != 0) ring.assign_evictable(p, false);
  }
  /// Gives a block, evictable if `flag` is `offered`, the slot at the back. \pre there is room
  [[gnu::always_inline]] void enter(Queue q, BlockId b, std::uint32_t flag) {
    Ring& ring = rings_[index(q)];
    const std::size_t p = ring.log.take();
    ring.put(p, b);
    places_[b.value] = place_of(q, p) | flag;
    settle_if_needed(q);
  }

  [[gnu::always_inline]] void settle_if_needed(Queue q) {
    Ring& ring = rings_[index(q)];
    if (ring.settled_evictable < enough_settled_ && ring.settled != ring.log.span()) settle_more(q);
  }
  [[gnu::noinline]] void settle_more(Queue q) {
    Ring& ring = rings_[index(q)];
    for (int words = 0; words < 64; ++words) {
      if (ring.settled_evictable >= enough_settled_ || ring.settled == ring.log.span()) return;
      settle(q);
    }
  }
  /// Settles the rest of a word, as far as the log goes.
  void settle(Queue q) {
    Ring& ring = rings_[index(q)];
    const std::size_t begin = ring.log.at(ring.settled);
    const std::size_t count = std::min(64 - begin % 64, ring.log.span() - ring.settled);
    const std::uint64_t live = ring.live[begin / 64] & ~std::uint64_t{0} >> (64 - count)
                                                                                << (begin % 64);
    std::uint64_t evictable = 0;
    for (std::uint64_t left = live; left != 0; left &= left - 1) {
      const auto bit = static_cast<std::size_t>(std::countr_zero(left));
      const BlockId b = ring.slots[begin / 64 * 64 + bit];
      evictable |= std::uint64_t{places_[b.value] >> 30 & 1} << bit;
    }
    if (live != 0) ring.bits.merge(is_live, begin / 64, live);
    if (evictable != 0) ring.bits.merge(is_evictable, begin / 64, evictable);
    ring.settled += count;
    ring.settled_evictable += static_cast<std::size_t>(std::popcount(evictable));
    // Searches begin at the head, which so stays near what they find.
    ring.passed(ring.log.advance([&ring] { return ring.oldest(); }));
  }

  /// One bounded part of the work that turns dead entries into room, where that is short.
  [[gnu::always_inline]] void make_room(Queue q) {
    if (rings_[index(q)].log.crowded()) pack(q);
  }
  [[gnu::noinline]] void pack(Queue q) {
    Ring& ring = rings_[index(q)];
    ring.passed(ring.log.pack([&ring] { return ring.oldest(); },
                              [&ring](std::size_t w) { return ring.live[w]; },
                              [&](std::size_t from, std::size_t to) { relocate(q, from, to); }));
  }
  /// Moves the block of slot `p` to the newer slot `to`. \pre the slots between are dead
  void relocate(Queue q, std::size_t p, std::size_t to) {
    Ring& ring = rings_[index(q)];
    const BlockId b = ring.slots[p];
    std::uint32_t& place = places_[b.value];
    place = place_of(q, to) | (place & offered);
    ring.slots[to] = b;
    ring.set_dead(p);
    ring.live[to / 64] |= std::uint64_t{1} << (to % 64);
    if (!ring.settles(p)) return;
    ring.settled = std::max(ring.settled, ring.log.age(to) + 1);
    ring.bits.clear(is_live, p);
    ring.bits.set(is_live, to);
    if ((place & offered) == 0) return;
    ring.bits.clear(is_evictable, p);
    ring.bits.set(is_evictable, to);
  }

  std::size_t enough_settled_;
  std::array<Ring, Queues> rings_;
  std::array<std::size_t, Queues> size_{};
  huge_vector<std::uint32_t> places_;  // \shape (capacity)
};

/// One queue.
using RecencyQueue = RecencyQueues<1>;

}  // namespace quire::eviction
