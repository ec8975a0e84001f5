#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ghost_list.hpp>
#include <quire/eviction/two_queues.hpp>

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
        queues_(capacity),
        ghosts_(static_cast<std::int64_t>(main_most_)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    queues_.note(b) = {context.content, 0};
    queues_.append(ghosts_.erase(context.content) ? main : small, b);
  }
  void prefetch(std::uint64_t content) const { ghosts_.prefetch(content); }
  void on_access(BlockId b, const BlockContext&) {
    std::uint8_t& hits = queues_.note(b).hits;
    if (hits == most_hits) return;
    ++hits;
    if (queues_.queue(b) == main || hits > promoting_hits) queues_.set_marked(b, true);
  }
  void set_evictable(BlockId b, bool evictable) { queues_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { victim() == b ? evict(b) : queues_.erase(b); }
  [[nodiscard]] std::optional<BlockId> victim() const {
    std::size_t in_small = queues_.size(small);
    std::size_t in_main = queues_.size(main);
    bool main_evictable = queues_.any_evictable(main);
    std::optional<BlockId> promoted;  // the first block that would go to the main queue
    std::optional<BlockId> b = queues_.oldest_evictable(small);
    while (b && (in_small >= small_target_ || !main_evictable)) {
      if (!queues_.marked(*b)) return b;
      if (in_main >= main_most_ && main_evictable) break;
      if (!promoted) promoted = b;
      main_evictable = true;
      --in_small;
      ++in_main;
      b = next_evictable(*b);
    }
    if (const auto unhit = queues_.oldest_candidate(main)) return unhit;
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
  using Queues = TwoQueues<Block>;
  using Queue = Queues::Queue;
  // Marked: hit often enough for the main queue; there: hit.
  static constexpr Queue small = Queue::first, main = Queue::second;

  [[nodiscard]] std::optional<BlockId> next_evictable(BlockId b) const {
    const std::optional<BlockId> next = queues_.newer(b);
    return next ? queues_.evictable_from(*next) : std::nullopt;
  }

  /// The victim of a main queue whose evictable blocks were all hit: each round takes one hit off
  /// all, so it is the oldest of those hit least.
  [[nodiscard]] std::optional<BlockId> least_hit() const {
    std::optional<BlockId> least;
    for (auto b = queues_.oldest_evictable(main); b; b = next_evictable(*b)) {
      if (!least || queues_.note(*b).hits < queues_.note(*least).hits) least = b;
      if (queues_.note(*least).hits == 1) break;
    }
    return least;
  }

  /// Carries out what victim() found.
  void evict(BlockId victim) {
    for (;;) {
      const std::optional<BlockId> oldest = queues_.oldest_evictable(small);
      const bool main_evictable = queues_.any_evictable(main);
      if (!oldest || (queues_.size(small) < small_target_ && main_evictable)) break;
      if (!queues_.marked(*oldest)) {
        queues_.erase(victim);
        ghosts_.push(queues_.note(victim).content);
        prefetch_next();
        return;
      }
      if (queues_.size(main) >= main_most_ && main_evictable) {
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
    const std::optional<BlockId> next = queues_.oldest_evictable(small);
    if (!next) return;
    ghosts_.prefetch(queues_.note(*next).content);
    if (const auto then = queues_.second_evictable(small)) queues_.prefetch(*then);
  }
  void promote(BlockId b) {
    queues_.note(b).hits = 0;
    queues_.set_marked(b, false);
    queues_.move_to_back(main, b);
  }
  void evict_main(BlockId victim) {
    for (BlockId b = *queues_.oldest_evictable(main); queues_.note(b).hits > 0;
         b = *queues_.oldest_evictable(main)) {
      if (--queues_.note(b).hits == 0) queues_.set_marked(b, false);
      queues_.move_to_back(main, b);
    }
    queues_.erase(victim);
  }

  std::size_t small_target_;
  std::size_t main_most_;
  Queues queues_;
  GhostList ghosts_;
};
static_assert(EvictionPolicy<S3Fifo>);

}  // namespace quire::eviction
