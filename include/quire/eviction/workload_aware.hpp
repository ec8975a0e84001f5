#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/evictable_set.hpp>

namespace quire::eviction {

/// Workload-aware: gives up the block that is least likely to be used again while it would stay, by a
/// model of its request category learnt from the pool's own uses; of equals the one furthest into
/// its prompt. Of 64 blocks drawn at random.
///
/// For each category (BlockContext::category, such as the turn of a conversation): the share of uses
/// that were followed by another, and the mean time to it. Times to reuse are taken as exponential,
/// so a block of age t is used within the next s with probability share * (F(t + s) - F(t)), where s
/// is how long blocks have lately stayed unused before they were given up.
/// The draw depends on the seed and the number of removals before it.
/// \complexity on_* O(1); victim O(64).
/// \errors none: victim() is empty when nothing is evictable.
/// \source Wang et al., "KVCache Cache in the Wild", USENIX ATC '25, after its published description.
/// Deviations: the model is learnt online with moving averages instead of fitted to a log; 64
/// candidates are compared (up to 64 evictable blocks: all); categories count modulo 64; time is
/// counted in insertions and accesses.
class WorkloadAware {
 public:
  static constexpr std::string_view name = "workload_aware";
  static constexpr std::size_t samples = 64;
  explicit WorkloadAware(BlockCount capacity, std::uint64_t seed = 0)
      : seed_(seed),
        evictable_(capacity),
        blocks_(static_cast<std::size_t>(capacity.value)),
        stay_(static_cast<double>(capacity.value)) {
    for (Category& c : categories_) c.mean = stay_;
  }

  void on_insert(BlockId b, const BlockContext& context) { used(b, context); }
  void on_access(BlockId b, const BlockContext& context) {
    Category& c = categories_[blocks_[b.value].category];
    c.reuses += 1;
    c.mean += (static_cast<double>(now_ - blocks_[b.value].last_use + 1) - c.mean) * learning;
    used(b, context);
  }
  void set_evictable(BlockId b, bool evictable) {
    evictable ? evictable_.add(b) : evictable_.remove(b);
  }
  void on_remove(BlockId b) {
    if (victim() == b) {
      stay_ += (static_cast<double>(now_ - blocks_[b.value].last_use + 1) - stay_) * learning;
    }
    if (evictable_.contains(b)) evictable_.remove(b);
    ++removals_;
  }
  [[nodiscard]] std::optional<BlockId> victim() const {
    return evictable_.least(
        samples, seed_, removals_,
        [this](BlockId b) {
          const Block& x = blocks_[b.value];
          const Category& c = categories_[x.category];
          const double age = static_cast<double>(now_ - x.last_use + 1);
          const double reused =
              c.reuses / c.uses * std::exp(-age / c.mean) * -std::expm1(-stay_ / c.mean);
          return std::tuple(reused, -x.position, x.last_use);
        },
        [this](BlockId b) { return &blocks_[b.value]; });
  }

 private:
  static constexpr double learning = 1.0 / 256;  // weight of the latest in a moving average
  struct Block {
    std::int64_t position = 0;
    std::uint64_t last_use = 0;
    std::size_t category = 0;
  };
  struct Category {
    double uses = 2;  // one imagined block that was used again and one that was not
    double reuses = 1;
    double mean = 0;  // time to reuse
  };
  void used(BlockId b, const BlockContext& context) {
    const std::size_t category = static_cast<std::uint32_t>(context.category) % categories_.size();
    blocks_[b.value] = {context.position.value, ++now_, category};
    categories_[category].uses += 1;
  }

  std::uint64_t seed_;
  EvictableSet evictable_;
  huge_vector<Block> blocks_;
  std::array<Category, 64> categories_{};
  double stay_;
  std::uint64_t now_ = 0;
  std::uint64_t removals_ = 0;
};
static_assert(EvictionPolicy<WorkloadAware>);

}  // namespace quire::eviction
