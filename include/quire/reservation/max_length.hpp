#pragma once

#include <string_view>

#include <quire/reservation/concepts.hpp>

namespace quire::reservation {

/// Reserves the longest sequence the model allows, as systems before paging did.
/// \source "Orca (Max)" of Kwon et al., SOSP '23, section 6.1.
struct MaxLength {
  static constexpr std::string_view name = "max_length";
  static constexpr bool contiguous = true;
  static Tokens reserve(const LengthHint& hint) { return hint.max_length; }
};
static_assert(ReservationPolicy<MaxLength>);

}  // namespace quire::reservation
