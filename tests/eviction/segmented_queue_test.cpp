#include <quire/eviction/segmented_queue.hpp>

#include <gtest/gtest.h>

namespace quire::eviction_test {
namespace {

// Slru's comparison with its model covers the rest.
TEST(SegmentedQueue, AppendsWithTheFlagItIsGiven) {
  eviction::SegmentedQueue queue(BlockCount{4}, 1);
  queue.append(BlockId{0}, true);
  queue.append(BlockId{1}, false);
  EXPECT_EQ(queue.victim(), BlockId{0});
  queue.hit(BlockId{0});
  queue.hit(BlockId{1});  // 0 returns to probation, still evictable
  EXPECT_EQ(queue.victim(), BlockId{0});
  queue.erase(BlockId{0});
  EXPECT_FALSE(queue.victim());
  EXPECT_FALSE(queue.contains(BlockId{0}));
  EXPECT_EQ(queue.size(), 1u);
}

}  // namespace
}  // namespace quire::eviction_test
