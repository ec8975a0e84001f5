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

/// Persistence of importance: each head drops the tokens that most often, over the last `history`
/// queries, got less than an even share of a query's attention; the last `recent` tokens stay.
/// \complexity O(kept) a step. \source Liu et al., "Scissorhands", NeurIPS '23. Deviations: the
/// history moves on in sixteenths, and the queries of one step stay together in it; tokens go one by
/// one as the budget is reached, not many at a time; every layer has the same budget.
class Scissorhands {
 public:
  static constexpr std::string_view name = "scissorhands";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::head;
  static constexpr bool reassigns_positions = false;
  using Votes = LowVotes;
  using Compaction = CloseHoles;
  static constexpr std::int64_t parts = 16;

  Scissorhands(const RetentionLimits& limits, std::int64_t /*layers*/)
      : budget_(limits.budget),
        recent_(std::min(limits.recent, limits.budget)),
        part_(std::max<std::int64_t>(1, ceil_div(limits.history.value, parts))) {}

  void after_step(Lane& lane, std::span<const std::int64_t> votes, const LaneStep& step,
                  std::vector<std::uint32_t>& drop) const {
    // history: of each entry, its low votes in `parts` stretches of the text, the latest first
    const auto per_entry = static_cast<std::size_t>(parts);
    const std::size_t count = lane.entries.size();
    lane.history.resize(count * per_entry);
    const std::int64_t before = (step.computed - step.tokens).value;
    const std::int64_t on = std::min(parts, step.computed.value / part_ - before / part_);
    for (std::size_t i = 0; i < count; ++i) {
      const auto counts = std::span(lane.history).subspan(i * per_entry, per_entry);
      if (on > 0) {
        std::copy_backward(counts.begin(), counts.end() - on, counts.end());
        std::fill_n(counts.begin(), on, 0);
      }
      if (!votes.empty()) counts[0] += votes[i];
      std::int64_t low = 0;
      for (const std::int64_t c : counts) low += c;
      lane.entries[i].score = -low;
    }
    const std::size_t many = excess(lane, budget_);
    drop_lowest(lane.entries, count - std::min(count, static_cast<std::size_t>(recent_.value)),
                many, drop);
  }

 private:
  Tokens budget_, recent_;
  std::int64_t part_;
};
static_assert(DroppingPolicy<Scissorhands>);

}  // namespace quire::retention
