#include <quire/prefix_index/sibling_order.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include <quire/core/rng.hpp>

namespace quire::prefix_index_test {
namespace {

using prefix_index::SiblingOrder;

TEST(SiblingOrder, FindsTheLongestCommonBeginning) {
  SiblingOrder order(BlockCount{8}, Tokens{4});
  const auto add = [&](std::optional<BlockId> parent, std::vector<TokenId> text, std::uint32_t b,
                       std::uint64_t salt = 0) { order.insert(parent, text, salt, BlockId{b}); };
  const auto longest = [&](std::optional<BlockId> parent, std::vector<TokenId> text,
                           std::uint64_t salt = 0) {
    const auto found = order.longest(parent, text, salt);
    return found ? std::pair(found->block.value, found->tokens) : std::pair(99u, std::size_t{0});
  };
  add(std::nullopt, {1, 2, 3, 4}, 0);
  add(std::nullopt, {1, 2, 5}, 1);
  add(std::nullopt, {7, 7, 7, 7}, 2);
  add(BlockId{0}, {1, 2, 9, 9}, 3);
  EXPECT_EQ(longest(std::nullopt, {1, 2, 3, 9}), std::pair(0u, std::size_t{3}));
  EXPECT_EQ(longest(std::nullopt, {1, 2, 5, 6}), std::pair(1u, std::size_t{3}));
  EXPECT_EQ(longest(std::nullopt, {7}), std::pair(2u, std::size_t{1}));
  EXPECT_EQ(longest(std::nullopt, {8, 1}), std::pair(99u, std::size_t{0}));
  EXPECT_EQ(longest(BlockId{0}, {1, 2, 3, 4}), std::pair(3u, std::size_t{2}));
  EXPECT_EQ(longest(std::nullopt, {1, 2, 3, 4}, 5),
            std::pair(99u, std::size_t{0}));  // other tenant
  order.erase(BlockId{1});
  EXPECT_EQ(longest(std::nullopt, {1, 2, 5, 6}), std::pair(0u, std::size_t{2}));
}

// Every sibling is looked at.
TEST(SiblingOrder, EqualsAScan) {
  struct Text {
    std::uint32_t parent;
    std::uint64_t salt;
    std::vector<TokenId> tokens;
    bool operator==(const Text&) const = default;
  };
  constexpr std::uint32_t root = 1000;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Rng rng(seed);
    const std::size_t block_tokens = 1 + rng.below(6);
    SiblingOrder order(BlockCount{40}, Tokens{static_cast<std::int64_t>(block_tokens)});
    std::map<std::uint32_t, Text> blocks;
    const auto random_text = [&](std::size_t most) {
      std::vector<TokenId> tokens(1 + rng.below(most));
      for (TokenId& t : tokens) t = static_cast<TokenId>(rng.below(3));
      return tokens;
    };
    for (int step = 0; step < 600; ++step) {
      const auto b = static_cast<std::uint32_t>(rng.below(40));
      Text text{root, rng.below(2), random_text(block_tokens)};
      if (!blocks.empty() && rng.below(2) == 0) {
        auto at = blocks.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(rng.below(blocks.size())));
        text.parent = at->first;
        text.salt = 0;
      }
      const std::optional<BlockId> parent =
          text.parent == root ? std::nullopt : std::optional(BlockId{text.parent});
      std::size_t best = 0;
      for (const auto& [_, other] : blocks) {
        if (other.parent != text.parent || other.salt != text.salt) continue;
        const auto end = std::mismatch(other.tokens.begin(), other.tokens.end(),
                                       text.tokens.begin(), text.tokens.end());
        best = std::max(best, static_cast<std::size_t>(end.first - other.tokens.begin()));
      }
      const auto found = order.longest(parent, text.tokens, text.salt);
      ASSERT_EQ(found ? found->tokens : 0, best) << "seed " << seed << " step " << step;
      if (found) {
        const Text& it = blocks.at(found->block.value);
        ASSERT_EQ(it.parent, text.parent);
        ASSERT_EQ(it.salt, text.salt);
        ASSERT_TRUE(std::equal(text.tokens.begin(),
                               text.tokens.begin() + static_cast<std::ptrdiff_t>(best),
                               it.tokens.begin()));
      }
      const bool is_parent = std::any_of(blocks.begin(), blocks.end(), [&](const auto& other) {
        return other.second.parent == b;
      });
      if (blocks.contains(b)) {
        if (is_parent) continue;
        order.erase(BlockId{b});
        blocks.erase(b);
      } else if (text.parent != b && std::none_of(blocks.begin(), blocks.end(), [&](const auto& o) {
                   return o.second == text;
                 })) {
        order.insert(parent, text.tokens, text.salt, BlockId{b});
        blocks.emplace(b, text);
      }
    }
  }
}

}  // namespace
}  // namespace quire::prefix_index_test
