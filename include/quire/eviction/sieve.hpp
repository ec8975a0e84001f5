#pragma once

#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// SIEVE: one FIFO queue, one visited bit per block, one moving hand.
/// A hit sets the bit and moves nothing. The hand walks old -> new, clears bits, gives up the first
/// clear block and rests on the next newer one; past the newest it starts again at the oldest. It
/// steps over blocks in use and leaves their bits.
/// The walk takes effect when its victim is removed: asking for the victim changes nothing.
/// \complexity on_access O(1); victim O(log64 capacity); on_remove of the victim O(1) amortised,
/// and
///             at worst one pass over three bits a block of capacity (word by word), when the hand
///             goes all the way round.
/// \errors none: victim() is empty when nothing is evictable.
/// \source Zhang et al., "SIEVE is Simpler than LRU", NSDI '24. Deviation: keys are blocks, not
/// objects.
class Sieve {
 public:
  static constexpr std::string_view name = "sieve";
  explicit Sieve(BlockCount capacity) : queue_(capacity) {}

  void on_insert(BlockId b, const BlockContext&) { queue_.append(b); }
  void on_access(BlockId b, const BlockContext&) { queue_.set_marked(b, true); }
  void set_evictable(BlockId b, bool evictable) { queue_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    if (victim() == b) {
      walk_to(b);
      hand_ = queue_.newer(b);
    } else if (hand_ == b) {
      hand_ = queue_.newer(b);
    }
    queue_.erase(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    if (hand_) {
      if (const auto b = queue_.candidate_from(*hand_)) return b;
    }
    if (const auto b = queue_.oldest_candidate()) return b;
    // All are visited: one round clears every bit, and the first block of the next goes.
    if (hand_) {
      if (const auto b = queue_.evictable_from(*hand_)) return b;
    }
    return queue_.oldest_evictable();
  }

 private:
  /// Clears the visited bits that the hand passes on its way to the victim.
  void walk_to(BlockId b) {
    if (!queue_.oldest_candidate()) {
      queue_.unmark_evictable(std::nullopt, std::nullopt);
    } else if (hand_ && queue_.candidate_from(*hand_) != b) {
      queue_.unmark_evictable(hand_, std::nullopt);
      queue_.unmark_evictable(std::nullopt, b);
    } else {
      queue_.unmark_evictable(hand_, b);
    }
  }

  OrderedSlots<true> queue_;
  std::optional<BlockId> hand_;  // empty: at the oldest block
};
static_assert(EvictionPolicy<Sieve>);

}  // namespace quire::eviction
