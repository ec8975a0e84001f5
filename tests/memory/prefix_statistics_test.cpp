#include <quire/memory/prefix_statistics.hpp>

#include <gtest/gtest.h>

namespace quire::memory_test {
namespace {

TEST(PrefixStatistics, RatiosAreOfTokensAndOfBlocks) {
  PrefixStatistics s;
  EXPECT_EQ(s.token_hit_ratio(), 0.0);  // nothing was asked for
  EXPECT_EQ(s.block_hit_ratio(), 0.0);
  s.asked_tokens = 40;
  s.found_tokens = 10;
  s.asked_blocks = 2;
  s.found_blocks = 1;
  EXPECT_EQ(s.token_hit_ratio(), 0.25);
  EXPECT_EQ(s.block_hit_ratio(), 0.5);
}

}  // namespace
}  // namespace quire::memory_test
