#include <quire/offload/tiered.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(Tiered, GoesOnToDisk) {
  constexpr TierRules rules = tier_rules<offload::Tiered>();
  EXPECT_TRUE(rules.uses_disk);
  EXPECT_TRUE(rules.keeps_evicted);
  EXPECT_FALSE(rules.overlaps);
  EXPECT_EQ(rules.look_ahead, 0);
  EXPECT_EQ(offload::Tiered{}.on_preempt({}), Preemption::swap);
}

}  // namespace
}  // namespace quire::offload_test
