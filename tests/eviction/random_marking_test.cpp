#include <quire/eviction/random_marking.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct LiteralMarking {
  explicit LiteralMarking(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) { list.blocks.push_back({.id = b, .count = 1}); }
  void on_access(BlockId b, const BlockContext&) {
    NaiveBlock& x = list.at(b);
    if (x.evictable && x.count == 0) {
      unmarked.set(b, false);
      marked.set(b, true);
    }
    x.count = 1;
  }
  void set_evictable(BlockId b, bool value) {
    list.at(b).evictable = value;
    if (value) return (list.at(b).count == 1 ? marked : unmarked).set(b, true);
    marked.set(b, false);
    unmarked.set(b, false);
  }
  void lose(BlockId b) {
    list.take(b);
    marked.set(b, false);
    unmarked.set(b, false);
    marked.draw = ++unmarked.draw;
  }
  std::optional<BlockId> evict() {
    if (marked.blocks.empty() && unmarked.blocks.empty()) return std::nullopt;
    if (unmarked.blocks.empty()) {
      for (NaiveBlock& x : list.blocks) x.count = 0;
      unmarked.blocks.swap(marked.blocks);
    }
    // The draw is one of 64 bits: index `removals` of stream 0.
    const std::uint64_t bits = counter_bits(0, 0, unmarked.draw) >> 32;
    const BlockId b =
        unmarked.blocks[static_cast<std::size_t>(bits * unmarked.blocks.size() >> 32)];
    lose(b);
    return b;
  }
  NaiveList list;
  NaiveSample marked;
  NaiveSample unmarked;
};

TEST(RandomMarking, EqualsItsModel) {
  agree_with_model<eviction::RandomMarking, Lazily<LiteralMarking>>();
}

TEST(RandomMarking, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::RandomMarking, Lazily<LiteralMarking>>()), 7774u);
}

TEST(RandomMarking, MarkedBlocksOutliveThePhase) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    eviction::RandomMarking marking(BlockCount{6}, seed);
    for (std::uint32_t b = 0; b < 6; ++b) enter(marking, b);  // all marked
    const int first = evict(marking);                         // a new phase: none is
    std::set<int> kept;
    for (int b = 0; b < 6 && kept.size() < 2; ++b) {
      if (b == first) continue;
      hit(marking, static_cast<std::uint32_t>(b));
      kept.insert(b);
    }
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(kept.contains(evict(marking)));
    EXPECT_TRUE(kept.contains(evict(marking)));
  }
}

TEST(RandomMarking, SeedsDiffer) {
  std::set<int> victims;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    eviction::RandomMarking marking(BlockCount{6}, seed);
    for (std::uint32_t b = 0; b < 6; ++b) enter(marking, b);
    victims.insert(evict(marking));
  }
  EXPECT_EQ(victims.size(), 6u);
}

}  // namespace
}  // namespace quire::eviction_test
