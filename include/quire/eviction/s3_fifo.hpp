#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/prefetch.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ghost_list.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// S3-FIFO: a small FIFO queue that new blocks must prove themselves in, a main FIFO queue with
/// reinsertion, and a ghost queue of names that the small one gave up.
///
/// A new block enters the small queue (a tenth of the capacity), or the main one when its name is a
/// ghost. A hit counts, up to 3. While the small queue is at its size, its oldest block goes: hit
/// more than once into the main queue, otherwise out, its name to the ghosts. Otherwise the main
/// queue's oldest goes: hit, it loses a count and goes to the back; not hit, out.
/// Blocks in use keep place and count, and queues with nothing evictable are passed over.
/// Promotions take effect when the victim is removed: asking for the victim changes nothing.
/// \complexity on_access O(1); victim and on_remove O(log64 capacity) amortised (promotions and
///             reinsertions are paid for by hits), O(capacity) worst.
/// \errors none: victim() is empty when nothing is evictable.
/// \source Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP '23. Deviation: the
/// choice between the queues is made again after each promotion; a full main queue makes room
/// first.
class S3Fifo {
 public:
  static constexpr std::string_view name = "s3_fifo";
  explicit S3Fifo(BlockCount capacity)
      : small_target_(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 10))),
        main_most_(static_cast<std::size_t>(capacity.value) - small_target_),
        small_(capacity),
        main_(capacity),
        ghosts_(static_cast<std::int64_t>(main_most_)),
        blocks_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    blocks_[b.value] = {context.content, 0};
    ghosts_.erase(context.content) ? main_.append(b) : small_.append(b);
  }
  void on_access(BlockId b, const BlockContext&) {
    std::uint8_t& hits = blocks_[b.value].hits;
    if (hits == most_hits) return;
    ++hits;
    if (main_.contains(b)) {
      main_.set_marked(b, true);
    } else if (hits > promoting_hits) {
      small_.set_marked(b, true);
    }
  }
  void set_evictable(BlockId b, bool evictable) {
    (main_.contains(b) ? main_ : small_).set_evictable(b, evictable);
  }
  void on_remove(BlockId b) {
    if (victim() == b) {
      evict(b);
    } else {
      (main_.contains(b) ? main_ : small_).erase(b);
    }
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    std::size_t small = small_.size();
    std::size_t main = main_.size();
    bool main_evictable = main_.any_evictable();
    std::optional<BlockId> promoted;  // the first block that would go to the main queue
    std::optional<BlockId> b = small_.oldest_evictable();
    while (b && (small >= small_target_ || !main_evictable)) {
      if (!small_.marked(*b)) return b;
      if (main >= main_most_ && main_evictable) break;
      if (!promoted) promoted = b;
      main_evictable = true;
      --small;
      ++main;
      const std::optional<BlockId> next = small_.newer(*b);
      b = next ? small_.evictable_from(*next) : std::nullopt;
    }
    if (const auto unhit = main_.oldest_candidate()) return unhit;
    if (promoted) return promoted;  // it would enter with no hits, behind blocks that have some
    return least_hit();
  }

 private:
  static constexpr std::uint8_t most_hits = 3;
  static constexpr std::uint8_t promoting_hits = 1;
  struct Block {
    std::uint64_t content = 0;
    std::uint8_t hits = 0;
  };

  /// The victim of a main queue whose evictable blocks were all hit: each round takes one hit off
  /// all, so it is the oldest of those hit least.
  [[nodiscard]] std::optional<BlockId> least_hit() const {
    std::optional<BlockId> least;
    for (auto b = main_.oldest_evictable(); b;) {
      if (!least || blocks_[b->value].hits < blocks_[least->value].hits) least = b;
      if (blocks_[least->value].hits == 1) break;
      const std::optional<BlockId> next = main_.newer(*b);
      b = next ? main_.evictable_from(*next) : std::nullopt;
    }
    return least;
  }

  /// Carries out what victim() found.
  void evict(BlockId victim) {
    for (;;) {
      const std::optional<BlockId> oldest = small_.oldest_evictable();
      const bool main_evictable = main_.any_evictable();
      if (!oldest || (small_.size() < small_target_ && main_evictable)) break;
      if (!small_.marked(*oldest)) {
        small_.erase(victim);
        ghosts_.push(blocks_[victim.value].content);
        prefetch_next();
        return;
      }
      if (main_.size() >= main_most_ && main_evictable) {
        evict_main(victim);
        promote(*oldest);
        return;
      }
      promote(*oldest);
    }
    evict_main(victim);
  }
  /// The next victim is likely the next of the small queue: fetches where its name will go, and the
  /// name of the one behind it.
  void prefetch_next() const {
    const std::optional<BlockId> next = small_.oldest_evictable();
    if (!next) return;
    ghosts_.prefetch(blocks_[next->value].content);
    if (const auto then = small_.second_evictable()) quire::prefetch(&blocks_[then->value]);
  }
  void promote(BlockId b) {
    small_.erase(b);
    blocks_[b.value].hits = 0;
    main_.append(b);
    main_.set_evictable(b, true);
  }
  void evict_main(BlockId victim) {
    for (BlockId b = *main_.oldest_evictable(); blocks_[b.value].hits > 0;
         b = *main_.oldest_evictable()) {
      if (--blocks_[b.value].hits == 0) main_.set_marked(b, false);
      main_.move_to_back(b);
    }
    main_.erase(victim);
  }

  std::size_t small_target_;
  std::size_t main_most_;
  OrderedSlots<true> small_;  // marked: hit often enough for the main queue
  OrderedSlots<true> main_;   // marked: hit
  GhostList ghosts_;
  huge_vector<Block> blocks_;
};
static_assert(EvictionPolicy<S3Fifo>);

}  // namespace quire::eviction
