#include <quire/memory/prefix_watch.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/memory/block_pool.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>

#include "tests/common/fuzz.hpp"

namespace quire::memory_test {
namespace {

constexpr std::size_t tokens_of_block = 4;

/// Texts that wait beside a pool through which others pass.
template <class Index>
class Watched {
 public:
  explicit Watched(std::uint64_t seed) : rng_(seed) {}

  void live(int steps) {
    PrefixWatch& watch = pool_.watch();
    for (int step = 0; step < steps; ++step) {
      const std::size_t slot = rng_.below(slots);
      Waiting& one = waiting_[slot];
      if (rng_.below(6) == 0) {
        one.open ? watch.close(static_cast<std::uint32_t>(slot))
                 : watch.open(static_cast<std::uint32_t>(slot));
        one = {.open = !one.open, .text = text(), .salt = rng_.below(2)};
        fresh_ += one.open ? 1 : 0;
      }
      pass(text(), rng_.below(2));
      if (rng_.below(3) == 0) look();
      if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_GT(changes_, steps / 20);
    EXPECT_GT(changes_ + fresh_, told_ / 3);  // and few are told for nothing
  }

 private:
  static constexpr std::size_t slots = 24;
  struct Found {
    std::vector<BlockId> blocks;
    std::int64_t part = 0;
    [[nodiscard]] std::size_t tokens() const {
      return blocks.size() * tokens_of_block + static_cast<std::size_t>(part);
    }
  };
  struct Waiting {
    bool open = false;
    std::vector<TokenId> text;
    std::uint64_t salt = 0;
    std::size_t tokens = 0;  // when it was matched last
  };

  /// A beginning that is one of few, and an end of its own.
  std::vector<TokenId> text() {
    std::vector<TokenId> made;
    const std::uint64_t family = rng_.below(12), shared = rng_.below(14), own = rng_.below(7);
    for (std::uint64_t i = 0; i < shared; ++i) {
      made.push_back(static_cast<TokenId>(family + (i > 5 ? i : 0)));
    }
    for (std::uint64_t i = 0; i < own; ++i)
      made.push_back(static_cast<TokenId>(20 + rng_.below(3)));
    return made;
  }
  Found match(const std::vector<TokenId>& text, std::uint64_t salt) {
    Found found;
    pool_.match(text, salt, found.blocks);
    if constexpr (MatchesParts<Index>) {
      std::optional<BlockId> last;
      if (!found.blocks.empty()) last = found.blocks.back();
      const auto rest = std::span(text).subspan(found.tokens());
      if (const auto part = pool_.match_part(last, rest, salt)) found.part = part->tokens.value;
    }
    return found;
  }
  /// A request whose text it is comes and goes; its blocks stay cached until others need them.
  void pass(const std::vector<TokenId>& text, std::uint64_t salt) {
    std::vector<BlockId> held = match(text, salt).blocks;
    for (const BlockId block : held) pool_.acquire(block);
    const std::size_t least = MatchesParts<Index> ? 1 : tokens_of_block;
    for (std::size_t at = held.size() * tokens_of_block; at + least <= text.size();
         at += tokens_of_block) {
      const std::optional<BlockId> block = pool_.allocate();
      ASSERT_TRUE(block.has_value());
      std::optional<BlockId> parent;
      if (!held.empty()) parent = held.back();
      const auto own = std::span(text).subspan(at, std::min(tokens_of_block, text.size() - at));
      pool_.publish(*block, parent, own, salt, {});
      held.push_back(*block);
    }
    for (std::size_t i = held.size(); i-- > 0;) pool_.release(held[i]);
  }
  /// Whoever would find more or less than before has been told of.
  void look() {
    std::vector<std::uint32_t> told;
    pool_.watch().take(told);
    told_ += std::ssize(told);
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      Waiting& one = waiting_[slot];
      const bool is_told = std::find(told.begin(), told.end(), slot) != told.end();
      if (!one.open) {
        ASSERT_FALSE(is_told);
        continue;
      }
      const Found found = match(one.text, one.salt);
      changes_ += found.tokens() != one.tokens ? 1 : 0;
      if (!is_told) {
        ASSERT_EQ(found.tokens(), one.tokens) << "slot " << slot;
        continue;
      }
      one.tokens = found.tokens();
      std::optional<BlockId> last;
      if (!found.blocks.empty()) last = found.blocks.back();
      const auto rest = std::span(one.text).subspan(found.blocks.size() * tokens_of_block);
      pool_.watch().matched(slot, last, pool_.watch_key_after(last, rest, one.salt));
    }
  }

  Rng rng_;
  BlockPool<eviction::Lru, Index> pool_{BlockCount{14}, Tokens{tokens_of_block}};
  std::vector<Waiting> waiting_{slots};
  std::int64_t changes_ = 0, fresh_ = 0, told_ = 0;
};

template <class Index>
class PrefixWatchOf : public ::testing::Test {};
using Indexes = ::testing::Types<prefix_index::HashChain, prefix_index::RadixTree,
                                 prefix_index::TokenRadixTree>;
TYPED_TEST_SUITE(PrefixWatchOf, Indexes);

TYPED_TEST(PrefixWatchOf, TellsOfAllWhoseMatchChangesAndOfFewOthers) {
  const auto lives = static_cast<std::uint64_t>(quire::testing::fuzz_count(10));
  for (std::uint64_t seed = 0; seed < lives; ++seed) {
    SCOPED_TRACE(seed);
    Watched<TypeParam>(seed).live(1000);
    if (this->HasFatalFailure()) return;
  }
}

TEST(PrefixWatch, TellsEachTextOnceAndOfThoseAloneThatEndThere) {
  PrefixWatch watch(BlockCount{4});
  std::vector<std::uint32_t> told;
  const auto take = [&] {
    told.clear();
    watch.take(told);
    return told;
  };
  for (const std::uint32_t slot : {0u, 1u, 2u}) watch.open(slot);
  EXPECT_EQ(take(), (std::vector<std::uint32_t>{0, 1, 2}));
  watch.on_insert(BlockId{3}, 7);
  watch.matched(0, BlockId{3}, 5);
  watch.matched(1, std::nullopt, 5);
  watch.matched(2, BlockId{3}, std::nullopt);
  watch.on_insert(BlockId{0}, 6);
  EXPECT_TRUE(take().empty());
  watch.on_insert(BlockId{1}, 5);
  watch.close(1);
  EXPECT_EQ(take(), (std::vector<std::uint32_t>{0}));
  watch.on_erase(BlockId{3});  // slot 0 has been told, and is not matched yet
  EXPECT_EQ(take(), (std::vector<std::uint32_t>{2}));
}

}  // namespace
}  // namespace quire::memory_test
