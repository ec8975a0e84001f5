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

/// Token omission via attention: each layer keeps the `budget` tokens with the largest attention of
/// the last query, over all heads; no rule for recent ones.
/// \complexity O(kept) a step. \source Oren et al., "Transformers are Multi-State RNNs",
/// arXiv:2401.06104. Deviation: after a step of several tokens, such as a prompt, its last query
/// judges all of them at once.
class Tova {
 public:
  static constexpr std::string_view name = "tova";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::layer;
  static constexpr bool reassigns_positions = false;
  using Votes = LastVote;
  using Compaction = CloseHoles;

  Tova(const RetentionLimits& limits, std::int64_t /*layers*/) : budget_(limits.budget) {}

  void after_step(Lane& lane, std::span<const std::int64_t> votes, const LaneStep&,
                  std::vector<std::uint32_t>& drop) const {
    for (std::size_t i = 0; i < votes.size(); ++i) lane.entries[i].score = votes[i];
    drop_lowest(lane.entries, lane.entries.size(), excess(lane, budget_), drop);
  }

 private:
  Tokens budget_;
};
static_assert(DroppingPolicy<Tova>);

}  // namespace quire::retention
