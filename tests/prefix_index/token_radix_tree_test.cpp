#include <quire/prefix_index/token_radix_tree.hpp>

#include <gtest/gtest.h>

#include <vector>

#include "tests/prefix_index/conformance.hpp"

namespace quire::prefix_index_test {
namespace {

using prefix_index::TokenRadixTree;

TEST(TokenRadixTree, FindsAPartOfABlockThatContinuesTheText) {
  TokenRadixTree tree(BlockCount{8}, Tokens{4});
  const std::vector<TokenId> text{1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(tree.insert(std::nullopt, std::span(text).first(4), 0, BlockId{0}));
  ASSERT_TRUE(tree.insert(BlockId{0}, std::span(text).last(4), 0, BlockId{1}));
  const auto part = tree.match_part(BlockId{0}, std::vector<TokenId>{5, 6, 9, 9}, 0);
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->block, BlockId{1});
  EXPECT_EQ(part->tokens, Tokens{2});
  EXPECT_FALSE(tree.match_part(std::nullopt, std::vector<TokenId>{5, 6}, 0).has_value());
  EXPECT_FALSE(tree.match_part(std::nullopt, std::vector<TokenId>{1, 2}, 1).has_value());
  EXPECT_TRUE(tree.match_part(std::nullopt, std::vector<TokenId>{1, 2}, 0).has_value());
}

TEST(TokenRadixTree, KeepsABlockThatIsFilledInPart) {
  TokenRadixTree tree(BlockCount{8}, Tokens{4});
  const std::vector<TokenId> text{1, 2, 3, 4, 5, 6, 7};
  ASSERT_TRUE(tree.insert(std::nullopt, std::span(text).first(4), 0, BlockId{0}));
  ASSERT_TRUE(tree.insert(BlockId{0}, std::span(text).last(3), 0, BlockId{1}));
  EXPECT_FALSE(
      tree.insert(BlockId{0}, std::span(text).subspan(4, 2), 0, BlockId{2}));  // part of it
  EXPECT_EQ(found_by(tree, text, 0), std::vector{BlockId{0}});                 // whole blocks only
  const auto part = tree.match_part(BlockId{0}, std::vector<TokenId>{5, 6, 7, 8}, 0);
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->tokens, Tokens{3});
  EXPECT_NE(tree.content(BlockId{1}), 0u);
  EXPECT_NE(tree.content(BlockId{1}), tree.content(BlockId{0}));
  // nothing continues a block that is not full
  EXPECT_FALSE(tree.insert(BlockId{1}, std::span(text).first(4), 0, BlockId{3}));
  tree.erase(BlockId{1});
  EXPECT_FALSE(tree.match_part(BlockId{0}, std::vector<TokenId>{5}, 0).has_value());
}

TEST(TokenRadixTree, TenantsNeverShareUnderForcedCollisions) {
  tenants_never_share<prefix_index::BasicTokenRadixTree<EightBitHash>>();
  tenants_never_share<prefix_index::BasicTokenRadixTree<ConstantHash>>();
}

// A part that another tenant filled is not found either.
TEST(TokenRadixTree, TenantsNeverShareAPartOfABlock) {
  prefix_index::BasicTokenRadixTree<EightBitHash> tree(BlockCount{64}, Tokens{4});
  std::uint32_t next = 0;
  for (const std::uint64_t salt : {1u, 2u, 3u}) {
    for (TokenId t = 0; t < 8; ++t) {
      const std::vector<TokenId> text{t, 1, 2};
      EXPECT_FALSE(tree.match_part(std::nullopt, text, salt).has_value());
      ASSERT_TRUE(tree.insert(std::nullopt, text, salt, BlockId{next}));
      EXPECT_EQ(tree.match_part(std::nullopt, text, salt)->block, BlockId{next});
      ++next;
    }
  }
}

}  // namespace
}  // namespace quire::prefix_index_test
