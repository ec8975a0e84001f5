#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/reservation/reservation.hpp>

/// What every reservation promises.
/// - It is a pure function of the hint.
/// - It never asks for more than the longest sequence of the model.
/// - A contiguous one holds all that the sequence will ever write: the prompt and the output, as
///   far as the hint tells them.
/// - A longer prompt or a larger limit never reserves less.
namespace quire::reservation_test {

/// Every reservation of the library; a new one is added here.
using all_policies = type_list<reservation::MaxLength, reservation::OnDemand, reservation::Oracle,
                               reservation::PowerOfTwo, reservation::RequestLimit>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

/// A legal hint: the prompt is shorter than the model's length, the output within the limit.
inline LengthHint random_hint(Rng& rng) {
  LengthHint hint;
  hint.max_length = 2 + static_cast<std::int64_t>(rng.below(4096));
  hint.prompt = 1 + static_cast<std::int64_t>(
                        rng.below(static_cast<std::uint64_t>(hint.max_length.value - 1)));
  hint.limit = 1 + static_cast<std::int64_t>(rng.below(5000));
  if (rng.below(2) == 0) {
    hint.output =
        1 + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(hint.limit.value)));
  }
  return hint;
}

/// Tokens that the sequence may write, by the hint.
inline Tokens final_length(const LengthHint& hint) {
  return std::min(hint.prompt + hint.output.value_or(hint.limit), hint.max_length);
}

}  // namespace quire::reservation_test
