#include <quire/offload/proactive_swap.hpp>

#include <gtest/gtest.h>

// What an engine does under it is tested with the scheduler that it was made for: mlfq_test.cpp.
namespace quire::offload_test {
namespace {

TEST(ProactiveSwap, KeepsAShareOfThePoolFree) {
  EXPECT_EQ(offload::ProactiveSwap::keep_free(1000), BlockCount{50});
  EXPECT_EQ(offload::ProactiveSwap::keep_free(10), BlockCount{0});
}

TEST(ProactiveSwap, MovesAheadOfNeedTakeHalfAStepAtMost) {
  EXPECT_EQ(offload::ProactiveSwap::blocks_ahead(0.04, 0.001), BlockCount{20});
  EXPECT_EQ(offload::ProactiveSwap::blocks_ahead(0.0, 0.001), BlockCount{0});
  EXPECT_EQ(offload::ProactiveSwap::blocks_ahead(0.04, 0.0), BlockCount{8});  // nobody knows
}

TEST(ProactiveSwap, IsTheOneThatSwapsAhead) {
  EXPECT_TRUE(tier_rules<offload::ProactiveSwap>().swaps_ahead);
  EXPECT_TRUE(tier_rules<offload::ProactiveSwap>().overlaps);
  EXPECT_FALSE(tier_rules<offload::OverlappedSwap>().swaps_ahead);
}

}  // namespace
}  // namespace quire::offload_test
