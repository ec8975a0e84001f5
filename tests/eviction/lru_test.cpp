#include <quire/eviction/lru.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveLru {
  static constexpr std::string_view name = "model";
  explicit NaiveLru(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) { list.blocks.push_back({b}); }
  void on_access(BlockId b, const BlockContext&) { list.move_to_back(b); }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() { return list.oldest_evictable(); }
  NaiveList list;
};

TEST(Lru, EqualsItsModel) { agree_with_model<eviction::Lru, NaiveLru>(); }

TEST(Lru, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Lru, NaiveLru>()), 7920u); }

TEST(Lru, AHitMovesABlockToTheBack) {
  eviction::Lru lru(BlockCount{3});
  for (const std::uint32_t i : {0u, 1u, 2u}) {
    lru.on_insert(BlockId{i}, {});
    lru.set_evictable(BlockId{i}, true);
  }
  lru.on_access(BlockId{0}, {});
  EXPECT_EQ(lru.victim(), BlockId{1});
  lru.set_evictable(BlockId{1}, false);
  EXPECT_EQ(lru.victim(), BlockId{2});
  lru.set_evictable(BlockId{1}, true);  // its place is its last use, not its release
  EXPECT_EQ(lru.victim(), BlockId{1});
}

}  // namespace
}  // namespace quire::eviction_test
