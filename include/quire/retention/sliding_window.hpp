#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/compaction.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/retention/lowest.hpp>

namespace quire::retention {

/// Keeps the last `budget` tokens.
/// \complexity O(dropped) a step. \source the window attention that StreamingLLM (Xiao et al., ICLR
/// '24) compares with. A model's own sliding window is an attention variant, not this policy.
class SlidingWindow {
 public:
  static constexpr std::string_view name = "sliding_window";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::sequence;
  static constexpr bool reassigns_positions = false;
  using Votes = NoVotes;
  using Compaction = ReuseHoles;

  SlidingWindow(const RetentionLimits& limits, std::int64_t /*layers*/) : budget_(limits.budget) {}

  void after_step(Lane& lane, std::span<const std::int64_t>, const LaneStep&,
                  std::vector<std::uint32_t>& drop) const {
    drop_range(0, excess(lane, budget_), drop);
  }

 private:
  Tokens budget_;
};
static_assert(DroppingPolicy<SlidingWindow>);

}  // namespace quire::retention
