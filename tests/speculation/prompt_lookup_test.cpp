#include <quire/speculation/prompt_lookup.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "tests/speculation/conformance.hpp"

namespace quire::speculation_test {
namespace {

using Text = std::vector<TokenId>;
using speculation::BasicPromptLookup;
using speculation::PromptLookup;
static_assert(speculation::guesses<PromptLookup>);

template <class Policy = PromptLookup>
Text proposed(const Text& text, std::int64_t most = Tokens{Policy::most}.value) {
  Text drafts;
  Policy{}.propose(text, most, drafts);
  return drafts;
}

TEST(PromptLookup, CopiesWhatFollowedTheLastTokensBefore) {
  EXPECT_EQ(proposed({1, 2, 3, 4, 5, 6, 1, 2, 3}, 3), (Text{4, 5, 6}));
  // the place where three agree, though one and two tokens agree later
  EXPECT_EQ(proposed({1, 2, 3, 7, 2, 3, 8, 3, 9, 1, 2, 3}, 1), Text{7});
  // of equally good places the last
  EXPECT_EQ(proposed({3, 7, 3, 8, 3}, 1), Text{8});
}

TEST(PromptLookup, GoesOnWithItsOwnCopyWhereATextRepeats) {
  EXPECT_EQ(proposed({5, 5}), Text(10, 5));
  EXPECT_EQ(proposed({1, 2, 1, 2, 1}), (Text{2, 1, 2, 1, 2, 1, 2, 1, 2, 1}));
}

TEST(PromptLookup, GuessesNothingWithoutAPlaceToCopyFrom) {
  EXPECT_TRUE(proposed({}).empty());
  EXPECT_TRUE(proposed({1}).empty());
  EXPECT_TRUE(proposed({1, 2, 3, 4}).empty());
  EXPECT_TRUE((proposed<BasicPromptLookup<4, 3, 2>>({1, 9, 2, 9})).empty());  // one agrees
  EXPECT_EQ((proposed<BasicPromptLookup<4, 3, 2>>({1, 9, 2, 1, 9}, 1)), Text{2});
}

/// The same, as one would say it: the longest suffix that stood before, the last place of it.
Text naive(const Text& text, std::size_t most, std::size_t longest, std::size_t shortest) {
  for (std::size_t n = std::min(longest, text.size()); n >= shortest && n > 0; --n) {
    for (std::size_t at = text.size() - n; at-- > 0;) {
      if (!std::equal(text.end() - static_cast<std::ptrdiff_t>(n), text.end(),
                      text.begin() + static_cast<std::ptrdiff_t>(at))) {
        continue;
      }
      Text all = text;
      for (std::size_t i = 0; i < most; ++i) all.push_back(all[at + n + i]);
      return {all.begin() + std::ssize(text), all.end()};
    }
  }
  return {};
}

TEST(PromptLookup, EqualsTheNaiveSearch) {
  Rng rng(7);
  std::size_t found = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const Text text = repetitive_text(rng, rng.below(50), 1 + rng.below(30));
    found += proposed(text).empty() ? 0 : 1;
    ASSERT_EQ(proposed(text), naive(text, 10, 3, 1));
    ASSERT_EQ((proposed<BasicPromptLookup<4, 5, 2>>(text)), naive(text, 4, 5, 2));
  }
  EXPECT_GT(found, 500u);
}

}  // namespace
}  // namespace quire::speculation_test
