#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/core/units.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>

/// What every prefix index promises, checked on every prefix index.
/// - match appends the blocks of the longest indexed prefix, whole blocks only, in order, and
///   nothing else; it finds a text under its own salt only.
/// - insert refuses a text that is indexed already and a parent that is not, and changes nothing
/// then.
/// - erase of a leaf makes that block, and only it, unfindable; its id can carry another text.
/// - content is equal for equal text and salt, whichever block holds it, now or later.
/// - an index that is not enabled finds nothing, ever.
namespace quire::prefix_index_test {

/// Every prefix index of the library; a new one is added here.
using all_policies = type_list<prefix_index::None, prefix_index::HashChain, prefix_index::RadixTree,
                               prefix_index::TokenRadixTree>;

/// The same promises hold when almost every key collides.
struct EightBitHash {
  std::uint64_t operator()(std::span<const TokenId> tokens, std::uint64_t before) const {
    return prefix_index::Xxh3ChainHash{}(tokens, before) & 0xff;
  }
};
/// ... and when every key does.
struct ConstantHash {
  std::uint64_t operator()(std::span<const TokenId>, std::uint64_t) const { return 7; }
};
using weakened = type_list<
    prefix_index::BasicHashChain<EightBitHash>, prefix_index::BasicHashChain<ConstantHash>,
    prefix_index::BasicRadixTree<EightBitHash>, prefix_index::BasicRadixTree<ConstantHash>,
    prefix_index::BasicTokenRadixTree<EightBitHash>,
    prefix_index::BasicTokenRadixTree<ConstantHash>>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

/// Texts in a map: obviously right, and slow.
struct NaiveIndex {
  using Text = std::pair<std::uint64_t, std::vector<TokenId>>;  // salt, tokens from the beginning
  std::map<Text, BlockId> texts;
  std::map<std::uint32_t, Text> text_of;

  std::vector<BlockId> match(std::span<const TokenId> tokens, std::uint64_t salt,
                             std::size_t block_tokens) const {
    std::vector<BlockId> out;
    for (std::size_t n = block_tokens; n <= tokens.size(); n += block_tokens) {
      const auto at = texts.find({salt, {tokens.begin(), tokens.begin() + static_cast<long>(n)}});
      if (at == texts.end()) break;
      out.push_back(at->second);
    }
    return out;
  }
};

/// Drives an index and the naive one with random texts over a small alphabet.
template <class Index>
void equals_a_map(std::uint64_t seed, int steps) {
  Rng rng(seed);
  const auto block_tokens = static_cast<std::size_t>(1 + rng.below(4));
  const auto capacity = static_cast<std::uint32_t>(1 + rng.below(60));
  const std::uint64_t salts[] = {0, 1, 0xdeadbeef};
  Index index(BlockCount{capacity}, Tokens{static_cast<std::int64_t>(block_tokens)});
  NaiveIndex naive;
  std::vector<BlockId> free;
  for (std::uint32_t i = 0; i < capacity; ++i) free.push_back(BlockId{i});
  std::map<NaiveIndex::Text, std::uint64_t> contents;  // ever seen

  for (int step = 0; step < steps; ++step) {
    const std::uint64_t salt = salts[rng.below(3)];
    std::vector<TokenId> text(rng.below((rng.below(4) == 0 ? 40 : 8) * block_tokens + 1));
    for (TokenId& t : text) t = static_cast<TokenId>(rng.below(2));
    std::vector<BlockId> found{BlockId{999}};  // match appends
    index.match(text, salt, found);
    const auto expected = naive.match(text, salt, block_tokens);
    ASSERT_EQ(found.front(), BlockId{999});
    ASSERT_EQ(std::vector<BlockId>(found.begin() + 1, found.end()),
              Index::enabled ? expected : std::vector<BlockId>{});
    if constexpr (Index::enabled) {
      const auto what = rng.below(5);
      if (what == 0 && !naive.texts.empty()) {  // erase a leaf
        auto at = naive.text_of.begin();
        std::advance(at, static_cast<long>(rng.below(naive.text_of.size())));
        const auto has_child = [&](const auto& other) {
          const auto& [other_salt, tokens] = other.second;
          return other_salt == at->second.first && tokens.size() > at->second.second.size() &&
                 std::equal(at->second.second.begin(), at->second.second.end(), tokens.begin());
        };
        if (std::any_of(naive.text_of.begin(), naive.text_of.end(), has_child)) continue;
        index.erase(BlockId{at->first});
        free.push_back(BlockId{at->first});
        naive.texts.erase(at->second);
        naive.text_of.erase(at);
      } else if (!free.empty() && text.size() >= block_tokens) {
        // Continue the longest match by one block, or insert something that is there already.
        const bool again = rng.below(4) == 0 && !expected.empty();
        const std::size_t depth = expected.size() - (again ? 1 : 0);
        const std::size_t begin = depth * block_tokens;
        if (begin + block_tokens > text.size()) continue;
        const std::optional<BlockId> parent =
            depth == 0 ? std::nullopt : std::optional(expected[depth - 1]);
        const BlockId block = free[rng.below(free.size())];
        const auto own = std::span<const TokenId>(text).subspan(begin, block_tokens);
        ASSERT_EQ(index.insert(parent, own, salt, block), !again);
        if (again) continue;
        std::erase(free, block);
        const NaiveIndex::Text whole{
            salt, {text.begin(), text.begin() + static_cast<long>(begin + block_tokens)}};
        naive.texts.emplace(whole, block);
        naive.text_of.emplace(block.value, whole);
        const auto [seen, first_time] = contents.emplace(whole, index.content(block));
        ASSERT_EQ(seen->second, index.content(block)) << "equal text, other name";
      }
    }
  }
}

template <class Index>
std::vector<BlockId> found_by(const Index& index, std::span<const TokenId> tokens,
                              std::uint64_t salt) {
  std::vector<BlockId> out;
  index.match(tokens, salt, out);
  return out;
}

// Two tenants never share a block, whatever the hash does: here all texts have one of 256 keys, and
// then one key, root keys of salts included.
template <class Index>
void tenants_never_share() {
  Index index(BlockCount{2000}, Tokens{1});
  std::uint32_t next = 0;
  for (const std::uint64_t salt : {1u, 2u, 3u}) {
    for (TokenId t = 0; t < 300; ++t) {
      const std::vector<TokenId> text{t, t + 1};
      EXPECT_TRUE(found_by(index, text, salt).empty());
      ASSERT_TRUE(index.insert(std::nullopt, std::span(text).first(1), salt, BlockId{next}));
      ASSERT_TRUE(index.insert(BlockId{next}, std::span(text).subspan(1), salt, BlockId{next + 1}));
      EXPECT_EQ(found_by(index, text, salt), (std::vector{BlockId{next}, BlockId{next + 1}}));
      next += 2;
    }
  }
}
}  // namespace quire::prefix_index_test
