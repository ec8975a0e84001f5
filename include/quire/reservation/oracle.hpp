#pragma once

#include <algorithm>
#include <string_view>

#include <quire/reservation/concepts.hpp>

namespace quire::reservation {

/// Reserves exactly the length the sequence will reach, which only a replay knows; without it, the
/// request's own limit, as in RequestLimit.
/// \source "Orca (Oracle)" of Kwon et al., SOSP '23, section 6.1.
struct Oracle {
  static constexpr std::string_view name = "oracle";
  static constexpr bool contiguous = true;
  static Tokens reserve(const LengthHint& hint) {
    return std::min(hint.prompt + hint.output.value_or(hint.limit), hint.max_length);
  }
};
static_assert(ReservationPolicy<Oracle>);

}  // namespace quire::reservation
