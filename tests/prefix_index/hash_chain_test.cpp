#include <quire/prefix_index/hash_chain.hpp>

#include <gtest/gtest.h>

#include <vector>

#include "tests/prefix_index/conformance.hpp"

namespace quire::prefix_index_test {
namespace {

using prefix_index::BasicHashChain;
using prefix_index::HashChain;

std::vector<BlockId> matched(const auto& index, std::span<const TokenId> tokens,
                             std::uint64_t salt = 0) {
  std::vector<BlockId> out;
  index.match(tokens, salt, out);
  return out;
}

TEST(HashChain, FindsWholeBlocksOfTheLongestPrefix) {
  HashChain index(BlockCount{8}, Tokens{2});
  const std::vector<TokenId> text{1, 2, 3, 4, 5};
  EXPECT_TRUE(index.insert(std::nullopt, std::span(text).first(2), 0, BlockId{6}));
  EXPECT_TRUE(index.insert(BlockId{6}, std::span(text).subspan(2, 2), 0, BlockId{3}));
  EXPECT_EQ(matched(index, text), (std::vector{BlockId{6}, BlockId{3}}));
  EXPECT_EQ(matched(index, std::span(text).first(3)), (std::vector{BlockId{6}}));
  EXPECT_TRUE(matched(index, std::span(text).subspan(2)).empty());  // not a prefix
  EXPECT_EQ(index.children(BlockId{6}), 1u);
  index.erase(BlockId{3});
  EXPECT_EQ(matched(index, text), (std::vector{BlockId{6}}));
  EXPECT_EQ(index.children(BlockId{6}), 0u);
  EXPECT_EQ(index.size(), 1u);
}

TEST(HashChain, RefusesATextTwiceAndAnUnknownParent) {
  HashChain index(BlockCount{8}, Tokens{1});
  const std::vector<TokenId> a{1};
  EXPECT_TRUE(index.insert(std::nullopt, a, 0, BlockId{0}));
  EXPECT_FALSE(index.insert(std::nullopt, a, 0, BlockId{1}));
  EXPECT_FALSE(index.contains(BlockId{1}));
  EXPECT_FALSE(index.insert(BlockId{5}, a, 0, BlockId{1}));
  EXPECT_EQ(index.size(), 1u);
}

TEST(HashChain, TenantsNeverShareUnderForcedCollisions) {
  tenants_never_share<BasicHashChain<EightBitHash>>();
  tenants_never_share<BasicHashChain<ConstantHash>>();
}

TEST(HashChain, NamesContentByTextAndSalt) {
  HashChain index(BlockCount{4}, Tokens{1});
  const std::vector<TokenId> a{1};
  ASSERT_TRUE(index.insert(std::nullopt, a, 7, BlockId{0}));
  ASSERT_TRUE(index.insert(std::nullopt, a, 8, BlockId{1}));
  ASSERT_TRUE(index.insert(BlockId{0}, a, 7, BlockId{2}));
  const std::uint64_t name = index.content(BlockId{2});
  EXPECT_NE(index.content(BlockId{0}), index.content(BlockId{1}));
  EXPECT_NE(index.content(BlockId{0}), name);
  index.erase(BlockId{2});
  ASSERT_TRUE(index.insert(BlockId{0}, a, 7, BlockId{3}));
  EXPECT_EQ(index.content(BlockId{3}), name);
}

}  // namespace
}  // namespace quire::prefix_index_test
