#pragma once

#include <string_view>

#include <quire/offload/concepts.hpp>

namespace quire::offload {

/// Drops the keys and values of a preempted group and computes them again when it returns.
/// \source Kwon et al., SOSP '23, section 4.5. Deviation: groups of several sequences too, whose
/// prompt is computed once and shared again; the paper swaps those.
struct Recompute {
  static constexpr std::string_view name = "recompute";
  static constexpr bool uses_host = false;
  [[nodiscard]] Preemption on_preempt(const PreemptionContext&) const {
    return Preemption::recompute;
  }
};
static_assert(OffloadPolicy<Recompute>);

}  // namespace quire::offload
