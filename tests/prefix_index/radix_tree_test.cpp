#include <quire/prefix_index/radix_tree.hpp>

#include <gtest/gtest.h>

#include <vector>

#include "tests/prefix_index/conformance.hpp"

namespace quire::prefix_index_test {
namespace {

using prefix_index::RadixTree;

std::vector<BlockId> matched(const RadixTree& tree, const std::vector<TokenId>& text) {
  std::vector<BlockId> out;
  tree.match(text, 0, out);
  return out;
}
/// Inserts a text of one-token blocks as block ids first, first + 1, ...
void insert(RadixTree& tree, const std::vector<TokenId>& text, std::uint32_t first,
            std::optional<BlockId> parent = std::nullopt) {
  for (const TokenId& token : text) {
    ASSERT_TRUE(tree.insert(parent, std::span(&token, 1), 0, BlockId{first}));
    parent = BlockId{first++};
  }
}
std::vector<BlockId> ids(std::initializer_list<std::uint32_t> values) {
  std::vector<BlockId> out;
  for (const auto v : values) out.push_back(BlockId{v});
  return out;
}

TEST(RadixTree, KeepsAStraightTextInFewRuns) {
  RadixTree tree(BlockCount{64}, Tokens{1});
  std::vector<TokenId> text(30);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<TokenId>(i);
  insert(tree, text, 0);
  EXPECT_EQ(tree.runs(), 3u);  // twelve blocks a run
  EXPECT_EQ(matched(tree, text).size(), 30u);
}

TEST(RadixTree, CutsARunWhereATextLeavesIt) {
  RadixTree tree(BlockCount{64}, Tokens{1});
  insert(tree, {1, 2, 3, 4, 5}, 0);
  EXPECT_EQ(tree.runs(), 1u);
  insert(tree, {9, 8}, 10, BlockId{1});  // 1 2 9 8
  EXPECT_EQ(tree.runs(), 3u);
  insert(tree, {7}, 20, BlockId{1});  // a third way from the same place
  EXPECT_EQ(tree.runs(), 4u);
  EXPECT_EQ(matched(tree, {1, 2, 3, 4, 5}), ids({0, 1, 2, 3, 4}));
  EXPECT_EQ(matched(tree, {1, 2, 9, 8, 7}), ids({0, 1, 10, 11}));
  EXPECT_EQ(matched(tree, {1, 2, 7}), ids({0, 1, 20}));
  EXPECT_EQ(matched(tree, {1, 2, 6}), ids({0, 1}));
}

TEST(RadixTree, FindsTheOtherBranchWhenTheFirstIsGone) {
  RadixTree tree(BlockCount{64}, Tokens{1});
  insert(tree, {1, 2, 3}, 0);
  insert(tree, {9}, 10, BlockId{1});
  tree.erase(BlockId{2});
  EXPECT_EQ(matched(tree, {1, 2, 9}), ids({0, 1, 10}));
  EXPECT_EQ(matched(tree, {1, 2, 3}), ids({0, 1}));
  tree.erase(BlockId{10});
  insert(tree, {4, 5}, 2, BlockId{1});  // the run goes on where it was cut
  EXPECT_EQ(tree.runs(), 1u);
  EXPECT_EQ(matched(tree, {1, 2, 4, 5}), ids({0, 1, 2, 3}));
}

TEST(RadixTree, TenantsNeverShareUnderForcedCollisions) {
  tenants_never_share<prefix_index::BasicRadixTree<EightBitHash>>();
  tenants_never_share<prefix_index::BasicRadixTree<ConstantHash>>();
}

}  // namespace
}  // namespace quire::prefix_index_test
