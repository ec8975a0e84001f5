#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/compaction.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/retention/lowest.hpp>

namespace quire::retention {

/// When a prompt ends, its last `observation` queries vote for the tokens before them; each head
/// keeps those with the most votes, summed over `pooling` neighbours, and the observation window,
/// `budget` in all. What is generated afterwards all stays.
/// \complexity O(prompt x pooling), once. \source Li et al., "SnapKV", arXiv:2404.14469; pooling by
/// means as in its repository. Deviation: query heads that share a KV head vote together.
class SnapKv {
 public:
  static constexpr std::string_view name = "snap_kv";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::head;
  static constexpr bool reassigns_positions = false;
  using Votes = PromptEndVotes;
  using Compaction = CloseHoles;

  SnapKv(const RetentionLimits& limits, std::int64_t /*layers*/)
      : budget_(limits.budget),
        observation_(std::min(limits.observation, limits.budget)),
        pooling_(std::max<std::int64_t>(1, limits.pooling)) {}

  void after_step(Lane& lane, std::span<const std::int64_t> votes, const LaneStep& step,
                  std::vector<std::uint32_t>& drop) const {
    compress(lane, votes, step, budget_ - observation_, drop);
  }

 protected:
  /// `chosen`: tokens that this layer keeps besides the observation window.
  void compress(Lane& lane, std::span<const std::int64_t> votes, const LaneStep& step,
                Tokens chosen, std::vector<std::uint32_t>& drop) const {
    if (step.computed - step.tokens >= step.prompt) return;  // generating
    add_votes(lane, votes);
    if (step.computed < step.prompt || step.prompt <= budget_) return;
    const auto voted = static_cast<std::size_t>((step.prompt - observation_).value);
    const auto keep = std::min(voted, static_cast<std::size_t>(chosen.value));
    std::vector<Entry> pooled(lane.entries.begin(),
                              lane.entries.begin() + static_cast<std::ptrdiff_t>(voted));
    const auto reach = static_cast<std::size_t>(pooling_ / 2);
    for (std::size_t i = 0; i < voted; ++i) {
      pooled[i].score = 0;
      const std::size_t end = std::min(voted, i + reach + 1);
      for (std::size_t j = i - std::min(i, reach); j < end; ++j) {
        pooled[i].score += lane.entries[j].score;
      }
    }
    drop_lowest(pooled, voted, voted - keep, drop);
  }

  Tokens budget_, observation_;

 private:
  std::int64_t pooling_;
};
static_assert(DroppingPolicy<SnapKv>);

}  // namespace quire::retention
