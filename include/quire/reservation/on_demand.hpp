#pragma once

#include <string_view>

#include <quire/reservation/concepts.hpp>

namespace quire::reservation {

/// Gives a sequence the blocks of its prompt and adds one whenever the last is full.
/// \source Kwon et al., SOSP '23, section 4.3.
struct OnDemand {
  static constexpr std::string_view name = "on_demand";
  static constexpr bool contiguous = false;
  static Tokens reserve(const LengthHint& hint) { return hint.prompt; }
};
static_assert(ReservationPolicy<OnDemand>);

}  // namespace quire::reservation
