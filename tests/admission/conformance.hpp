#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

#include <quire/admission/admission.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>

/// What every admission policy promises.
/// - admit changes nothing: a twin that is asked more often answers alike for ever.
/// - Equal requests give equal answers: no clock, no address, no global.
/// - A copy goes on as the original does.
/// - One that says it admits all does; one that says it does not refuses something.
/// - A text that is asked for again and again is admitted in the end, whoever its rival is, when the
///   rival is asked for no more: nothing hot is locked out.
/// - It works for a pool of one block, and allocates nothing after construction.
namespace quire::admission_test {

/// Every admission policy of the library; a new one is added here.
using all_policies = type_list<admission::Always, admission::ReuseThreshold, admission::TinyLfu>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

/// Requests for a few hot texts among many cold ones.
inline std::uint64_t next_content(Rng& rng) {
  return rng.below(2) == 0 ? 1 + rng.below(8) : 100 + rng.below(1000);
}

inline std::optional<std::uint64_t> next_rival(Rng& rng) {
  if (rng.below(3) == 0) return std::nullopt;
  return next_content(rng);
}

}  // namespace quire::admission_test
