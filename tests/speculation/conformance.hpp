#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/speculation/speculation.hpp>

/// What every speculation policy promises.
/// - At most `most` drafts and at most as many as are asked for, of any text, the empty one too.
/// - Equal text gives equal guesses, whatever was asked before: no state, no clock, no global.
/// - Fewer asked for are the first of more.
/// - The text it is shown is read, never written behind its end.
/// A policy whose drafts a model makes proposes nothing; what it promises is tested where the model
/// runs (tests/engine/draft_model_test.cpp).
namespace quire::speculation_test {

/// Every speculation policy of the library; a new one is added here.
using all_policies =
    type_list<speculation::None, speculation::PromptLookup, speculation::DraftModel>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

/// A text of so many tokens out of few words, so that parts of it come again.
inline std::vector<TokenId> repetitive_text(Rng& rng, std::size_t length, std::uint64_t words) {
  std::vector<TokenId> text;
  for (std::size_t i = 0; i < length; ++i) text.push_back(static_cast<TokenId>(rng.below(words)));
  return text;
}

}  // namespace quire::speculation_test
