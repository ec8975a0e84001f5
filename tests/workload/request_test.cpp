#include <quire/workload/request.hpp>

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::Request;
using quire::RequestId;

TEST(Request, GivenTokensAreThePrompt) {
  Request r;
  r.prompt = {5, 6};
  EXPECT_EQ(prompt_tokens(r), (std::vector<quire::TokenId>{5, 6}));
}

TEST(Request, BareLengthsShareNothing) {
  Request a{.id = RequestId{1}, .prompt_length = 50};
  Request b{.id = RequestId{2}, .prompt_length = 60};
  const auto x = prompt_tokens(a);
  const auto y = prompt_tokens(b);
  EXPECT_EQ(x.size(), 50u);
  EXPECT_EQ(y.size(), 60u);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NE(x[i], y[i]);
  EXPECT_EQ(prompt_tokens(a), x);
}

TEST(Request, EqualChunksGiveEqualTokensWhereverTheyStand) {
  Request a{.id = RequestId{1}, .chunks = {{7, 20}, {8, 4}}, .prompt_length = 24};
  Request b{.id = RequestId{2}, .chunks = {{9, 3}, {7, 12}}, .prompt_length = 15};
  const auto x = prompt_tokens(a);
  const auto y = prompt_tokens(b);
  EXPECT_TRUE(std::equal(x.begin(), x.begin() + 12, y.begin() + 3));
}

}  // namespace
