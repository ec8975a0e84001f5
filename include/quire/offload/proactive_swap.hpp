#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <quire/offload/overlapped_swap.hpp>

namespace quire::offload {

/// Swaps before there is need: a preempted group keeps its blocks on the device until somebody wants them;
/// whoever is expected to run last is moved to the host first, ahead of newcomers, so that a share of the
/// pool stays free for them, and whoever is expected to run next is brought back before its turn. Moves
/// ahead of need take at most as long as half a step, behind the layers of which they hide.
/// The expectation is the scheduler's next_turn(), or its rank where it has none.
/// \source Wu et al., "FastServe", 2305.05920, section 4.3 (proactive swapping). Deviation: the share that
/// is kept free is fixed, not fitted to the arrivals of late.
struct ProactiveSwap : OverlappedSwap {
  static constexpr std::string_view name = "proactive_swap";
  static constexpr bool swaps_ahead = true;
  static constexpr double free_share = 0.05;  // of the pool
  static constexpr double step_share = 0.5;   // of a step, for moves ahead of need
  static constexpr std::int64_t unpredicted_blocks =
      8;  // a step, where nobody knows what a move takes

  /// Blocks that are kept free of groups that do not run.
  [[nodiscard]] static BlockCount keep_free(BlockCount capacity) {
    return static_cast<std::int64_t>(free_share * static_cast<double>(capacity.value));
  }
  /// Blocks that may move ahead of need in a step; the last one took `step`, a move takes `block`.
  [[nodiscard]] static BlockCount blocks_ahead(Seconds step, Seconds block) {
    if (block <= Seconds{0.0}) return unpredicted_blocks;
    constexpr double most = 1 << 30;
    return static_cast<std::int64_t>(std::min(most, step_share * ratio(step, block)));
  }
};
static_assert(OffloadPolicy<ProactiveSwap>);

}  // namespace quire::offload
