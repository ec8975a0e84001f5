#include <quire/offload/recompute.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(Recompute, DropsGroupsOfAnySize) {
  const offload::Recompute policy;
  PreemptionContext context{.sequences = 1, .computed = 100, .blocks = 7, .host_free = 100};
  EXPECT_EQ(policy.on_preempt(context), Preemption::recompute);
  context.sequences = 2;
  EXPECT_EQ(policy.on_preempt(context), Preemption::recompute);
  EXPECT_EQ(offload::Recompute::uses_host, false);
}

}  // namespace
}  // namespace quire::offload_test
