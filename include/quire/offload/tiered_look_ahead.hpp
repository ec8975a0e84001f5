#pragma once

#include <string_view>

#include <quire/offload/tiered.hpp>

namespace quire::offload {

/// The tiers, with the queue as a look into the future: what the first 32 waiting requests will need is
/// brought from disk to the host while others run.
/// \source Gao et al., ATC '24, section 3.3. Deviation: what they need is marked as used, which any
/// eviction policy understands, in place of an eviction order of its own.
struct TieredLookAhead : Tiered {
  static constexpr std::string_view name = "tiered_look_ahead";
  static constexpr int look_ahead = 32;
};
static_assert(OffloadPolicy<TieredLookAhead>);

}  // namespace quire::offload
