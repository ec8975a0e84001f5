#include <quire/eviction/clock.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct LiteralClock {
  explicit LiteralClock(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) { list.blocks.push_back({b}); }
  void on_access(BlockId b, const BlockContext&) { list.at(b).count = 1; }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void lose(BlockId b) { list.take(b); }
  std::optional<BlockId> evict() {
    for (;;) {
      const auto b = list.oldest_evictable();
      if (!b) return b;
      if (list.at(*b).count == 0) {
        list.take(*b);
        return b;
      }
      list.at(*b).count = 0;
      list.move_to_back(*b);
    }
  }
  NaiveList list;
};

TEST(Clock, EqualsItsModel) { agree_with_model<eviction::Clock, Lazily<LiteralClock>>(); }

TEST(Clock, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::Clock, Lazily<LiteralClock>>()), 8169u);
}

TEST(Clock, AHitBuysOneMoreRound) {
  eviction::Clock clock(BlockCount{4});
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(clock, b);
  hit(clock, 0);
  hit(clock, 0);  // twice is no more than once
  EXPECT_EQ(evict(clock), 1);
  enter(clock, 3);
  EXPECT_EQ(evict(clock), 2);
  EXPECT_EQ(evict(clock), 0);  // passed before 3 came
  EXPECT_EQ(evict(clock), 3);
  EXPECT_EQ(evict(clock), -1);
}

TEST(Clock, WhenAllAreMarkedTheOldestGoes) {
  eviction::Clock clock(BlockCount{3});
  for (const std::uint32_t b : {2u, 0u, 1u}) enter(clock, b);
  for (const std::uint32_t b : {0u, 1u, 2u}) hit(clock, b);
  EXPECT_EQ(evict(clock), 2);
  hit(clock, 0);
  EXPECT_EQ(evict(clock), 1);
}

}  // namespace
}  // namespace quire::eviction_test
