#pragma once

#include <string_view>

#include <quire/offload/concepts.hpp>

namespace quire::offload {

/// Copies the blocks of a preempted group to the host tier and back when it returns.
/// \source Kwon et al., SOSP '23, section 4.5.
struct SwapToHost {
  static constexpr std::string_view name = "swap_to_host";
  static constexpr bool uses_host = true;
  [[nodiscard]] Preemption on_preempt(const PreemptionContext&) const { return Preemption::swap; }
};
static_assert(OffloadPolicy<SwapToHost>);

}  // namespace quire::offload
