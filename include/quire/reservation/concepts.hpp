#pragma once

#include <concepts>
#include <optional>
#include <string_view>

#include <quire/core/units.hpp>

namespace quire {

/// What is known of a sequence's length when it is admitted.
struct LengthHint {
  Tokens prompt = 0;
  Tokens limit = 0;              // max_tokens of the request
  std::optional<Tokens> output;  // true output length, known in replay only
  Tokens max_length = 0;         // of the model
};

/// How many tokens of KV space a sequence is given when it is admitted.
/// contiguous: the space is one run of blocks from a buddy allocator, and the sequence never grows
/// beyond it; otherwise single blocks are added on demand.
template <class P>
concept ReservationPolicy = requires(const LengthHint& hint) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::contiguous } -> std::convertible_to<bool>;
  { P::reserve(hint) } -> std::same_as<Tokens>;
};

}  // namespace quire
