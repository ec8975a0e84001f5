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

/// Keeps the first `sinks` tokens and the last ones, `budget` in all, and re-assigns positions
/// inside the cache: what was dropped leaves no gap between the sinks and the rest.
/// \complexity O(dropped) a step. \source Xiao et al., "Efficient Streaming Language Models with
/// Attention Sinks", ICLR '24. Deviation: keys stay turned by their place in the text and only the
/// sinks are turned on by what was dropped behind them, which gives the same distances.
class StreamingLlm {
 public:
  static constexpr std::string_view name = "streaming_llm";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::sequence;
  static constexpr bool reassigns_positions = true;
  using Votes = NoVotes;
  using Compaction = ReuseHoles;

  StreamingLlm(const RetentionLimits& limits, std::int64_t /*layers*/)
      : budget_(limits.budget), sinks_(std::min(limits.sinks, limits.budget)) {}

  void after_step(Lane& lane, std::span<const std::int64_t>, const LaneStep&,
                  std::vector<std::uint32_t>& drop) const {
    drop_range(static_cast<std::size_t>(sinks_.value), excess(lane, budget_), drop);
  }

 private:
  Tokens budget_, sinks_;
};
static_assert(DroppingPolicy<StreamingLlm>);

}  // namespace quire::retention
