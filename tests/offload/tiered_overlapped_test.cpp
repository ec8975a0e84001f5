#include <quire/offload/tiered_overlapped.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(TieredOverlapped, FetchesLayerByLayer) {
  constexpr TierRules rules = tier_rules<offload::TieredOverlapped>();
  EXPECT_TRUE(rules.uses_disk);
  EXPECT_TRUE(rules.keeps_evicted);
  EXPECT_TRUE(rules.overlaps);
  EXPECT_EQ(rules.look_ahead, 0);
  EXPECT_EQ(offload::TieredOverlapped{}.on_preempt({}), Preemption::swap);
}

}  // namespace
}  // namespace quire::offload_test
