#pragma once

#include <string_view>

#include <quire/offload/concepts.hpp>

namespace quire::offload {

/// Recomputes a group of one sequence and swaps a group of several, vLLM's rule at its publication.
/// \source the artifact of Kwon et al., SOSP '23 (preemption mode by number of sequences).
struct RecomputeSingleSwapGroup {
  static constexpr std::string_view name = "recompute_single_swap_group";
  static constexpr bool uses_host = true;
  [[nodiscard]] Preemption on_preempt(const PreemptionContext& context) const {
    return context.sequences > 1 ? Preemption::swap : Preemption::recompute;
  }
};
static_assert(OffloadPolicy<RecomputeSingleSwapGroup>);

}  // namespace quire::offload
