#include <quire/eviction/score_order.hpp>

#include <gtest/gtest.h>

namespace quire::eviction_test {
namespace {

TEST(ScoreOrder, KeysOfBlocksInUseChangeWithoutTheHeap) {
  eviction::ScoreOrder<int> order(BlockCount{3});
  order.set_key(BlockId{0}, 5);
  order.set_key(BlockId{1}, 3);
  EXPECT_FALSE(order.victim());
  order.set_evictable(BlockId{0}, true);
  EXPECT_EQ(order.victim(), BlockId{0});
  order.set_evictable(BlockId{1}, true);
  EXPECT_EQ(order.victim(), BlockId{1});
  order.set_key(BlockId{1}, 9);
  EXPECT_EQ(order.victim(), BlockId{0});
  order.set_evictable(BlockId{0}, false);
  order.set_key(BlockId{0}, 10);
  order.set_evictable(BlockId{0}, true);
  EXPECT_EQ(order.victim(), BlockId{1});
  order.remove(BlockId{1});
  order.remove(BlockId{2});  // not evictable: nothing to do
  EXPECT_EQ(order.victim(), BlockId{0});
}

}  // namespace
}  // namespace quire::eviction_test
