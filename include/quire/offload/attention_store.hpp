#pragma once

#include <string_view>

#include <quire/offload/tiered_look_ahead.hpp>

namespace quire::offload {

/// The tiers with both look-ahead and overlap, as CachedAttention has them.
/// \source Gao et al., ATC '24; first published as AttentionStore.
struct AttentionStore : TieredLookAhead {
  static constexpr std::string_view name = "attention_store";
  static constexpr bool overlaps = true;
};
static_assert(OffloadPolicy<AttentionStore>);

}  // namespace quire::offload
