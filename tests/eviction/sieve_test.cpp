#include <quire/eviction/sieve.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

// The algorithm of the paper with an index for the hand.
struct LiteralSieve {
  explicit LiteralSieve(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) { list.blocks.push_back({b}); }
  void on_access(BlockId b, const BlockContext&) { list.at(b).count = 1; }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void lose(BlockId b) {
    const auto at = list.find(b);
    const auto i = static_cast<std::size_t>(at - list.blocks.begin());
    list.blocks.erase(at);
    if (hand > i) --hand;
    if (hand == list.blocks.size()) hand = 0;
  }
  std::optional<BlockId> evict() {
    if (!list.oldest_evictable()) return std::nullopt;
    for (;; hand = (hand + 1) % list.blocks.size()) {
      NaiveBlock& x = list.blocks[hand];
      if (!x.evictable) continue;
      if (x.count == 0) break;
      x.count = 0;
    }
    const BlockId b = list.blocks[hand].id;
    lose(b);
    return b;
  }
  NaiveList list;
  std::size_t hand = 0;
};

TEST(Sieve, EqualsItsModel) { agree_with_model<eviction::Sieve, Lazily<LiteralSieve>>(); }

TEST(Sieve, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::Sieve, Lazily<LiteralSieve>>()), 9776u);
}

// Worked by hand from the algorithm: tail is old, head is new.
TEST(Sieve, TheHandStaysWhereItEvicted) {
  eviction::Sieve sieve(BlockCount{8});
  for (const std::uint32_t b : {0u, 1u, 2u, 3u, 4u}) enter(sieve, b);
  hit(sieve, 0);
  hit(sieve, 1);
  hit(sieve, 4);
  EXPECT_EQ(evict(sieve), 2);  // 0 and 1 lose their bits; the hand rests on 3
  enter(sieve, 5);
  hit(sieve, 1);
  EXPECT_EQ(evict(sieve), 3);  // not 0, which is older and clear: the hand is past it
  EXPECT_EQ(evict(sieve), 5);  // 4 loses its bit; past the newest the hand starts again
  enter(sieve, 6);
  EXPECT_EQ(evict(sieve), 0);
  EXPECT_EQ(evict(sieve), 4);  // 1 was hit again; 4's bit was cleared
  EXPECT_EQ(evict(sieve), 6);
  EXPECT_EQ(evict(sieve), 1);
}

TEST(Sieve, StepsOverBlocksInUseAndLeavesTheirBits) {
  eviction::Sieve sieve(BlockCount{4});
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(sieve, b);
  hit(sieve, 0);
  sieve.set_evictable(BlockId{0}, false);
  EXPECT_EQ(evict(sieve), 1);
  sieve.set_evictable(BlockId{0}, true);
  EXPECT_EQ(evict(sieve), 2);
  enter(sieve, 3);
  EXPECT_EQ(evict(sieve), 3);  // 0 is still visited
  EXPECT_EQ(evict(sieve), 0);
}

}  // namespace
}  // namespace quire::eviction_test
