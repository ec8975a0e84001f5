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

/// Greedy-Dual-Size-Frequency: gives up the block with the least H = L + frequency * cost / size,
/// where L, the inflation, is the H of the last block given up: what is not used ages relative to
/// what comes in. The cost of a block is the arithmetic to make it again, which grows with its
/// position; equal H go by the last use.
/// \complexity O(log8 capacity) on evictable blocks, O(1) on blocks in use; victim O(1).
/// \errors none: an unknown cost or size counts as 1.
/// \source Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching
/// Policy", HP Labs 1998. Deviation: cost is recomputation (FLOPs a byte), not a network's.
class Gdsf {
 public:
  static constexpr std::string_view name = "gdsf";
  explicit Gdsf(BlockCount capacity)
      : order_(capacity), blocks_(static_cast<std::size_t>(capacity.value)) {}

  void on_insert(BlockId b, const BlockContext& context) {
    const double cost = context.recompute.value > 0 ? context.recompute.value : 1.0;
    const double size = context.size.value > 0 ? static_cast<double>(context.size.value) : 1.0;
    blocks_[b.value] = {cost / size, 0};
    used(b);
  }
  void on_access(BlockId b, const BlockContext&) { used(b); }
  void set_evictable(BlockId b, bool evictable) { order_.set_evictable(b, evictable); }
  void on_remove(BlockId b) {
    if (victim() == b) inflation_ = order_.key(b).h;
    order_.remove(b);
  }
  [[nodiscard]] std::optional<BlockId> victim() const { return order_.victim(); }

 private:
  struct Block {
    double weight = 1;  // cost / size
    double frequency = 0;
  };
  struct Key {
    double h = 0;
    std::uint64_t last_use = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  void used(BlockId b) {
    Block& block = blocks_[b.value];
    block.frequency += 1;
    order_.set_key(b, {inflation_ + block.frequency * block.weight, ++now_});
  }

  ScoreOrder<Key> order_;
  std::vector<Block> blocks_;
  double inflation_ = 0;
  std::uint64_t now_ = 0;
};
static_assert(EvictionPolicy<Gdsf>);

}  // namespace quire::eviction
