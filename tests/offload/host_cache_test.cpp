#include <quire/offload/host_cache.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(HostCache, KeepsWhatIsEvictedOnTheHostAlone) {
  constexpr TierRules rules = tier_rules<offload::HostCache>();
  EXPECT_FALSE(rules.uses_disk);
  EXPECT_TRUE(rules.keeps_evicted);
  EXPECT_FALSE(rules.overlaps);
  EXPECT_EQ(rules.look_ahead, 0);
  EXPECT_EQ(offload::HostCache{}.on_preempt({}), Preemption::swap);
}

}  // namespace
}  // namespace quire::offload_test
