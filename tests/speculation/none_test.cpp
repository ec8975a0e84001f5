#include <quire/speculation/none.hpp>

#include <gtest/gtest.h>

namespace quire::speculation_test {
namespace {

static_assert(!speculation::guesses<speculation::None>);

TEST(None, GuessesNothingOfATextThatRepeats) {
  std::vector<TokenId> drafts;
  speculation::None{}.propose(std::vector<TokenId>{1, 1, 1, 1}, 4, drafts);
  EXPECT_TRUE(drafts.empty());
}

}  // namespace
}  // namespace quire::speculation_test
