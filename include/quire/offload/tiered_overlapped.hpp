#pragma once

#include <string_view>

#include <quire/offload/tiered.hpp>

namespace quire::offload {

/// The tiers, with fetches layer by layer: a layer is computed while the next one is on its way.
/// \source Gao et al., ATC '24, section 3.2 (layer-wise pre-loading).
struct TieredOverlapped : Tiered {
  static constexpr std::string_view name = "tiered_overlapped";
  static constexpr bool overlaps = true;
};
static_assert(OffloadPolicy<TieredOverlapped>);

}  // namespace quire::offload
