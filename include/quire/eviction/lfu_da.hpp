#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/score_order.hpp>

namespace quire::eviction {

/// LFU with dynamic ageing: gives up the block with the least frequency + L at its last use, where
/// the age L is the key of the last block given up. Old favourites are overtaken by newcomers.
/// \complexity O(log8 capacity) on evictable blocks, O(1) on blocks in use; victim O(1).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Arlitt, Cherkasova, Dilley, Friedrich, Jin, "Evaluating Content Management Techniques
/// for Web Proxy Caches", SIGMETRICS PER 2000. Equal keys go by the last use.
class LfuDa {
 public:
  static constexpr std::string_view name = "lfu_da";
  explicit LfuDa(BlockCount capacity)
      : order_(capacity), frequency_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext&) {
    frequency_[b.value] = 0;
    used(b);
  }
  void on_access(BlockId b, const BlockContext&) { used(b); }
  void set_evictable(BlockId b, bool evictable) { order_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    if (victim() == b) age_ = order_.key(b).value;
    order_.remove(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const { return order_.victim(); }

 private:
  struct Key {
    std::uint64_t value = 0;
    std::uint64_t last_use = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  void used(BlockId b) { order_.set_key(b, {age_ + ++frequency_[b.value], ++now_}); }

  ScoreOrder<Key> order_;
  std::vector<std::uint64_t> frequency_;
  std::uint64_t age_ = 0;
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<LfuDa>);

}  // namespace quire::eviction
