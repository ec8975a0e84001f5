#include <quire/prefix_index/none.hpp>

#include <gtest/gtest.h>

namespace quire::prefix_index_test {
namespace {

TEST(None, IndexesNothing) {
  prefix_index::None none(BlockCount{4}, Tokens{2});
  const std::vector<TokenId> tokens{1, 2};
  EXPECT_FALSE(none.insert(std::nullopt, tokens, 0, BlockId{0}));
  std::vector<BlockId> found;
  none.match(tokens, 0, found);
  EXPECT_TRUE(found.empty());
  EXPECT_FALSE(prefix_index::None::enabled);
}

}  // namespace
}  // namespace quire::prefix_index_test
