#include <quire/offload/recompute_single_swap_group.hpp>

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

TEST(RecomputeSingleSwapGroup, DecidesByTheNumberOfSequences) {
  const offload::RecomputeSingleSwapGroup policy;
  PreemptionContext context{.sequences = 1, .computed = 100, .blocks = 7, .host_free = 100};
  EXPECT_EQ(policy.on_preempt(context), Preemption::recompute);
  context.sequences = 2;
  EXPECT_EQ(policy.on_preempt(context), Preemption::swap);
  EXPECT_EQ(offload::RecomputeSingleSwapGroup::uses_host, true);
}

}  // namespace
}  // namespace quire::offload_test
