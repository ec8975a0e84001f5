#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>

#include <quire/reservation/concepts.hpp>

namespace quire::reservation {

/// Reserves the prompt and the next power of two of the output length (25 -> 32).
/// The true output length is known in replay; otherwise the request's own limit stands in for it.
/// \source "Orca (Pow2)" of Kwon et al., SOSP '23, section 6.1.
struct PowerOfTwo {
  static constexpr std::string_view name = "power_of_two";
  static constexpr bool contiguous = true;
  static Tokens reserve(const LengthHint& hint) {
    const Tokens output = std::max(hint.output.value_or(hint.limit), Tokens{1});
    const Tokens rounded =
        static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(output.value)));
    return std::min(hint.prompt + rounded, hint.max_length);
  }
};
static_assert(ReservationPolicy<PowerOfTwo>);

}  // namespace quire::reservation
