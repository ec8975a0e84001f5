#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <quire/offload/tiered.hpp>

namespace quire::offload {

/// The tiers, used where that is predicted to be faster than computing: swaps a group when moving it
/// out and back takes less time, and fetches as much of a cached prefix as saves the most.
/// The later a block stands in a text the more attention it costs to compute, while every fetch costs
/// the same: so a short beginning may be computed where a long one is fetched.
/// \complexity blocks_to_fetch O(candidates).  \errors none; with nothing known it recomputes groups
/// and fetches prefixes.
/// \source the trade-off of Kwon et al., SOSP '23, section 7.3, decided case by case.
struct CostBased : Tiered {
  static constexpr std::string_view name = "cost_based";
  [[nodiscard]] Preemption on_preempt(const PreemptionContext& context) const {
    return context.swap < context.recompute ? Preemption::swap : Preemption::recompute;
  }
  [[nodiscard]] std::size_t blocks_to_fetch(std::span<const FetchCandidate> candidates) const {
    std::size_t best = 0;
    double saved = 0, most = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      saved += (candidates[i].recompute - candidates[i].fetch).value;
      if (saved >= most) {
        most = saved;
        best = i + 1;
      }
    }
    return best;
  }
};
static_assert(OffloadPolicy<CostBased>);

}  // namespace quire::offload
