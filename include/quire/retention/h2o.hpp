#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/compaction.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/retention/lowest.hpp>

namespace quire::retention {

/// Heavy-hitter oracle: each head keeps its last budget / 2 tokens and, of those before, the ones
/// with the largest attention summed over all queries so far.
/// \complexity O(kept) a step. \source Zhang et al., "H2O", NeurIPS '23. Deviation: query heads that
/// share a KV head vote together, since they share its keys.
class H2O {
 public:
  static constexpr std::string_view name = "h2o";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::head;
  static constexpr bool reassigns_positions = false;
  using Votes = AllVotes;
  using Compaction = CloseHoles;

  H2O(const RetentionLimits& limits, std::int64_t /*layers*/) : budget_(limits.budget) {}

  void after_step(Lane& lane, std::span<const std::int64_t> votes, const LaneStep&,
                  std::vector<std::uint32_t>& drop) const {
    add_votes(lane, votes);
    const auto recent = static_cast<std::size_t>(budget_.value / 2);
    const std::size_t many = excess(lane, budget_);
    if (many > 0) drop_lowest(lane.entries, lane.entries.size() - recent, many, drop);
  }

 private:
  Tokens budget_;
};
static_assert(DroppingPolicy<H2O>);

}  // namespace quire::retention
