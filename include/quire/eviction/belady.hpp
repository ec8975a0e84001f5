#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/score_order.hpp>

namespace quire::eviction {

/// Belady's MIN: gives up the block whose next use is furthest away; never used again is furthest.
/// Of blocks never used again the one that was used longest ago goes. It needs
/// BlockContext::next_use, which only a replay of a known trace can give.
/// \complexity O(log8 capacity) on evictable blocks, O(1) on blocks in use; victim O(1).
/// \errors none. An engine, which cannot know the next use, refuses it (needs_next_use).
/// \source Belady, "A Study of Replacement Algorithms for a Virtual-Storage Computer", IBM Systems
/// Journal 1966. Deviation: a missed block always enters. With blocks in use or under the prefix
/// rule the choice is among the evictable only, and no longer optimal.
class Belady {
 public:
  static constexpr std::string_view name = "belady";
  static constexpr bool needs_next_use = true;
  explicit Belady(BlockCount capacity) : order_(capacity) {}

  void on_insert(BlockId b, const BlockContext& context) { order_.set_key(b, key(context)); }
  void on_access(BlockId b, const BlockContext& context) { order_.set_key(b, key(context)); }
  void set_evictable(BlockId b, bool evictable) { order_.set_evictable(b, evictable); }
  void on_remove(BlockId b) { order_.remove(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return order_.victim(); }

 private:
  struct Key {
    std::uint64_t nearness = 0;  // the greatest is used next; 0: never
    std::uint64_t last_use = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  Key key(const BlockContext& context) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    return {context.next_use ? most - *context.next_use : 0, ++now_};
  }

  ScoreOrder<Key> order_;
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<Belady>);

}  // namespace quire::eviction
