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

/// ARC: balances a queue of blocks seen once (T1) against one of blocks seen again (T2) by which of
/// the two would have had the block that is missed now.
///
/// B1 and B2 remember the names of what T1 and T2 gave up; T1 and B1 together hold at most the
/// capacity, all four at most twice that. A name found in B1 raises the target size of T1, one
/// found in B2 lowers it, by the ratio of their lengths but at least 1; the block enters T2. Any
/// hit moves a block to the back of T2. T1 gives up its oldest while it is longer than the target,
/// else T2. When the queue whose turn it is has nothing evictable, it is the other's turn.
/// \complexity on_* O(1) amortised; victim O(log64 capacity).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Megiddo, Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST '03.
/// Deviations: room is made before the new block is known, so the tie |T1| = p is decided as for a
/// name that is not in B2, and the target moves after the eviction instead of before it; the ghosts
/// are trimmed when the block enters.
class Arc {
 public:
  static constexpr std::string_view name = "arc";
  explicit Arc(BlockCount capacity)
      : capacity_(static_cast<std::size_t>(capacity.value)),
        once_(capacity),
        again_(capacity),
        once_ghosts_(capacity + 1),
        again_ghosts_(capacity * 2 + 1),
        content_(capacity_) {}

  void on_insert(BlockId b, const BlockContext& context) {
    once_ghosts_.prefetch(context.content);  // both lists are asked: one wait, not two
    again_ghosts_.prefetch(context.content);
    content_[b.value] = context.content;
    const auto size = [](const GhostList& list) { return static_cast<double>(list.size()); };
    if (once_ghosts_.contains(context.content)) {
      const double step = std::max(1.0, size(again_ghosts_) / size(once_ghosts_));
      target_ = std::min(static_cast<double>(capacity_), target_ + step);
      once_ghosts_.erase(context.content);
      again_.append(b);
    } else if (again_ghosts_.contains(context.content)) {
      const double step = std::max(1.0, size(once_ghosts_) / size(again_ghosts_));
      target_ = std::max(0.0, target_ - step);
      again_ghosts_.erase(context.content);
      again_.append(b);
    } else {
      once_.append(b);
    }
    trim();
  }
  void on_access(BlockId b, const BlockContext&) {
    once_.prefetch(b);
    if (again_.contains(b)) return again_.move_to_back(b);
    const bool evictable = once_.evictable(b);
    once_.erase(b);
    again_.append(b);
    if (evictable) again_.set_evictable(b, true);
  }
  void set_evictable(BlockId b, bool evictable) {
    (again_.contains(b) ? again_ : once_).set_evictable(b, evictable);
  }
  void on_remove(BlockId b) {
    quire::prefetch(&content_[b.value]);
    const bool evicted = victim() == b;
    const bool was_again = again_.contains(b);
    (was_again ? again_ : once_).erase(b);
    if (!evicted) return;
    (was_again ? again_ghosts_ : once_ghosts_).push(content_[b.value]);
    prefetch_next(was_again ? again_ : once_, was_again ? again_ghosts_ : once_ghosts_);
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const auto from_once = once_.oldest_evictable();
    const auto from_again = again_.oldest_evictable();
    const bool once_turn = static_cast<double>(once_.size()) > target_;
    return from_once && (once_turn || !from_again) ? from_once : from_again;
  }

 private:
  /// The next victim is likely the next of the same queue: fetches where its name will go, and the
  /// name of the one behind it.
  void prefetch_next(const OrderedSlots<false>& queue, const GhostList& ghosts) const {
    const std::optional<BlockId> next = queue.oldest_evictable();
    if (!next) return;
    ghosts.prefetch(content_[next->value]);
    queue.prefetch(*next);
    if (const auto then = queue.second_evictable()) quire::prefetch(&content_[then->value]);
  }
  void trim() {
    while (once_.size() + once_ghosts_.size() > capacity_ && once_ghosts_.size() > 0) {
      once_ghosts_.pop_oldest();
    }
    const std::size_t all = once_.size() + again_.size() + once_ghosts_.size();
    while (all + again_ghosts_.size() > 2 * capacity_ && again_ghosts_.size() > 0) {
      again_ghosts_.pop_oldest();
    }
  }

  std::size_t capacity_;
  double target_ = 0;  // of the length of once_; "p" in the paper
  OrderedSlots<false> once_;
  OrderedSlots<false> again_;
  GhostList once_ghosts_;
  GhostList again_ghosts_;
  huge_vector<std::uint64_t> content_;
};
static_assert(EvictionPolicy<Arc>);

}  // namespace quire::eviction
