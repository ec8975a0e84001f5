// mechanism: two queues of blocks, each in one of them at most, with what a policy counts of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/slot_ring.hpp>

namespace quire::eviction {

/// Two queues of blocks in order of arrival at the back, each block with the flags of OrderedSlots.
///
/// Which queue a block is in, its slot there and the policy's note lie together: to look at a block is one
/// wait for memory. Queues whose blocks need no flag but that they may go are recency_queues.hpp's.
/// \complexity as SlotRing. No allocation after construction.
template <class Note>
class TwoQueues {
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t slot_bits = absent >> 1;

 public:
  enum class Queue : std::uint32_t { first, second };
  struct Block {
    Note note{};
    std::uint32_t place = absent;  // the slot; the upper bit: of the second queue
  };

  explicit TwoQueues(BlockCount capacity)
      : rings_{SlotRing<true>(capacity), SlotRing<true>(capacity)},
        blocks_(static_cast<std::size_t>(capacity.value)) {}

  /// What the policy notes of a block, present or not.
  [[nodiscard]] Note& note(BlockId b) { return blocks_[b.value].note; }
  [[nodiscard]] const Note& note(BlockId b) const { return blocks_[b.value].note; }
  /// Fetches a block's place and note.
  void prefetch(BlockId b) const { quire::prefetch(&blocks_[b.value]); }

  [[nodiscard]] std::size_t size(Queue q) const { return ring(q).size(); }
  [[nodiscard]] bool contains(BlockId b) const { return blocks_[b.value].place != absent; }
  /// \pre present
  [[nodiscard]] Queue queue(BlockId b) const {
    return static_cast<Queue>(blocks_[b.value].place >> 31);
  }
  /// \pre present
  [[nodiscard]] bool evictable(BlockId b) const { return ring(queue(b)).evictable(slot(b)); }
  /// \pre present
  [[nodiscard]] bool marked(BlockId b) const { return ring(queue(b)).marked(slot(b)); }

  /// Puts a block at the back, not marked. \pre absent
  void append(Queue q, BlockId b, bool evictable = false) {
    ring(q).append(b, evictable, moved(q));
  }
  /// \pre present
  void erase(BlockId b) {
    ring(queue(b)).erase(slot(b));
    blocks_[b.value].place = absent;
  }
  /// Moves a block to the back of that queue, from whichever it is in, with its flags. Nothing is decided by
  /// where it was, which no processor could foresee. \pre present
  void move_to_back(Queue q, BlockId b) {
    ring(q).move_to_back(
        b, ring(queue(b)), [this](BlockId x) { return slot(x); }, moved(q));
  }
  /// \pre present
  void set_evictable(BlockId b, bool value) { ring(queue(b)).set_evictable(slot(b), value); }
  /// \pre present
  void set_marked(BlockId b, bool value) { ring(queue(b)).set_marked(slot(b), value); }

  [[nodiscard]] bool any_evictable(Queue q) const { return ring(q).any_evictable(); }
  /// The oldest block, evictable or not.
  [[nodiscard]] std::optional<BlockId> oldest(Queue q) const { return ring(q).oldest(); }
  [[nodiscard]] std::optional<BlockId> oldest_evictable(Queue q) const {
    return ring(q).oldest_evictable();
  }
  /// The oldest block that is evictable and not marked.
  [[nodiscard]] std::optional<BlockId> oldest_candidate(Queue q) const {
    return ring(q).oldest_candidate();
  }
  /// The evictable block that is next after the oldest one. \pre one is evictable
  [[nodiscard]] std::optional<BlockId> second_evictable(Queue q) const {
    return ring(q).second_evictable();
  }
  /// The next newer block of its queue than `b`, evictable or not. \pre b present
  [[nodiscard]] std::optional<BlockId> newer(BlockId b) const {
    return ring(queue(b)).newer(slot(b));
  }
  /// The oldest evictable block of its queue that is `b` or newer. \pre b present
  [[nodiscard]] std::optional<BlockId> evictable_from(BlockId b) const {
    return ring(queue(b)).evictable_from(slot(b));
  }

 private:
  [[nodiscard]] SlotRing<true>& ring(Queue q) { return rings_[static_cast<std::size_t>(q)]; }
  [[nodiscard]] const SlotRing<true>& ring(Queue q) const {
    return rings_[static_cast<std::size_t>(q)];
  }
  [[nodiscard]] std::uint32_t slot(BlockId b) const { return blocks_[b.value].place & slot_bits; }
  [[nodiscard]] auto moved(Queue q) {
    return [this, upper = static_cast<std::uint32_t>(q) << 31](BlockId b, std::uint32_t slot) {
      blocks_[b.value].place = slot | upper;
    };
  }

  std::array<SlotRing<true>, 2> rings_;
  huge_vector<Block> blocks_;  // \shape (capacity)
};

}  // namespace quire::eviction
