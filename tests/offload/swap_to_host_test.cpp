#include <quire/offload/swap_to_host.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(SwapToHost, MovesGroupsOfAnySize) {
  const offload::SwapToHost policy;
  PreemptionContext context{.sequences = 1, .computed = 100, .blocks = 7, .host_free = 100};
  EXPECT_EQ(policy.on_preempt(context), Preemption::swap);
  context.sequences = 2;
  EXPECT_EQ(policy.on_preempt(context), Preemption::swap);
  EXPECT_EQ(offload::SwapToHost::uses_host, true);
}

}  // namespace
}  // namespace quire::offload_test
