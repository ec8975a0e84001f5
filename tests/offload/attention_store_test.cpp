#include <quire/offload/attention_store.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(AttentionStore, DoesBoth) {
  constexpr TierRules rules = tier_rules<offload::AttentionStore>();
  EXPECT_TRUE(rules.uses_disk);
  EXPECT_TRUE(rules.keeps_evicted);
  EXPECT_TRUE(rules.overlaps);
  EXPECT_EQ(rules.look_ahead, 32);
  EXPECT_EQ(offload::AttentionStore{}.on_preempt({}), Preemption::swap);
}

}  // namespace
}  // namespace quire::offload_test
