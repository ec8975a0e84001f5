#include <quire/offload/tiered_look_ahead.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(TieredLookAhead, LooksIntoTheQueue) {
  constexpr TierRules rules = tier_rules<offload::TieredLookAhead>();
  EXPECT_TRUE(rules.uses_disk);
  EXPECT_TRUE(rules.keeps_evicted);
  EXPECT_FALSE(rules.overlaps);
  EXPECT_EQ(rules.look_ahead, 32);
  EXPECT_EQ(offload::TieredLookAhead{}.on_preempt({}), Preemption::swap);
}

}  // namespace
}  // namespace quire::offload_test
