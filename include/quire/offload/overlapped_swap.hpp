#pragma once

#include <string_view>

#include <quire/offload/swap_to_host.hpp>

namespace quire::offload {

/// Swaps preempted groups to the host and back while layers are computed: a step waits for the blocks of
/// the layer that it is at, not for all that move. A watermark (SchedulerLimits) keeps blocks free ahead
/// of need, so that those who run grow without preempting.
/// \source Wu et al., "FastServe", 2305.05920, section 4.3, without what is done ahead of need there: who is
/// swapped is who is preempted, and comes back when it is let in (see ProactiveSwap).
struct OverlappedSwap : SwapToHost {
  static constexpr std::string_view name = "overlapped_swap";
  static constexpr bool overlaps = true;
};
static_assert(OffloadPolicy<OverlappedSwap>);

}  // namespace quire::offload
