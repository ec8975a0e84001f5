#pragma once

#include <algorithm>
#include <string_view>

#include <quire/reservation/concepts.hpp>

namespace quire::reservation {

/// Reserves the prompt and the request's own max_tokens, as Text Generation Inference did with its
/// token budget before it took up paging.
/// \source TGI launcher documentation: `max_total_tokens` and `max_batch_total_tokens`.
struct RequestLimit {
  static constexpr std::string_view name = "request_limit";
  static constexpr bool contiguous = true;
  static Tokens reserve(const LengthHint& hint) {
    return std::min(hint.prompt + hint.limit, hint.max_length);
  }
};
static_assert(ReservationPolicy<RequestLimit>);

}  // namespace quire::reservation
