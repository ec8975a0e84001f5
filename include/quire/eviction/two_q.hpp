#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/ghost_list.hpp>
#include <quire/eviction/ordered_slots.hpp>

namespace quire::eviction {

/// 2Q: new blocks pass through a FIFO queue; those wanted again after they left it enter an LRU
/// queue.
///
/// A1in is a FIFO of a quarter of the capacity, A1out the names of the last half a capacity of
/// blocks that left it, Am an LRU queue. A block whose name is in A1out enters Am, any other A1in.
/// A hit in Am moves the block to the back; a hit in A1in changes nothing (a correlated reference).
/// A1in gives up its oldest while it is longer than its share, otherwise Am does. When the queue
/// whose turn it is has nothing evictable, it is the other's turn. \complexity on_* O(1) amortised;
/// victim O(log64 capacity). \errors none: victim() is empty when nothing is evictable. \source
/// Johnson, Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement Algorithm",
/// VLDB '94, full version with Kin = 25 % and Kout = 50 %.
class TwoQ {
 public:
  static constexpr std::string_view name = "two_q";
  explicit TwoQ(BlockCount capacity)
      : in_most_(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 4))),
        in_(capacity),
        main_(capacity),
        out_(std::max<std::int64_t>(1, capacity.value / 2)),
        content_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    content_[b.value] = context.content;
    (out_.erase(context.content) ? main_ : in_).append(b);
  }
  void on_access(BlockId b, const BlockContext&) {
    if (main_.contains(b)) main_.move_to_back(b);
  }
  void set_evictable(BlockId b, bool evictable) {
    (main_.contains(b) ? main_ : in_).set_evictable(b, evictable);
  }
  void on_remove(BlockId b) {
    if (main_.contains(b)) return main_.erase(b);
    if (victim() == b) out_.push(content_[b.value]);
    in_.erase(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    const auto from_in = in_.oldest_evictable();
    const auto from_main = main_.oldest_evictable();
    return from_in && (in_.size() > in_most_ || !from_main) ? from_in : from_main;
  }

 private:
  std::size_t in_most_;
  OrderedSlots<false> in_;
  OrderedSlots<false> main_;
  GhostList out_;
  std::vector<std::uint64_t> content_;
};
static_assert(EvictionPolicy<TwoQ>);

}  // namespace quire::eviction
