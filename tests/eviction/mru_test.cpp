#include <quire/eviction/mru.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveMru {
  static constexpr std::string_view name = "model";
  explicit NaiveMru(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) { list.blocks.push_back({b}); }
  void on_access(BlockId b, const BlockContext&) { list.move_to_back(b); }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() {
    std::optional<BlockId> newest;
    for (auto& x : list.blocks)
      if (x.evictable) newest = x.id;
    return newest;
  }
  NaiveList list;
};

TEST(Mru, EqualsItsModel) { agree_with_model<eviction::Mru, NaiveMru>(); }

TEST(Mru, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Mru, NaiveMru>()), 1818u); }

// A loop of four blocks in a cache of three: LRU never hits, MRU misses once in three.
TEST(Mru, HoldsMostOfALoop) {
  eviction::ReferenceString loop;
  std::vector<std::uint64_t> contents;
  for (std::uint64_t i = 0; i < 400; ++i) contents.push_back(1 + i % 4);
  loop.add(contents);
  eviction::Mru mru(BlockCount{3});
  EXPECT_EQ(eviction::replay(mru, BlockCount{3}, loop).hits, 264u);
}

}  // namespace
}  // namespace quire::eviction_test
