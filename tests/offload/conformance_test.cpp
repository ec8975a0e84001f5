#include "tests/offload/conformance.hpp"

#include <gtest/gtest.h>

namespace quire::offload_test {
namespace {

template <class Policy>
class OffloadConformance : public ::testing::Test {};
using Policies = as_gtest_types<all_policies>::type;
TYPED_TEST_SUITE(OffloadConformance, Policies);

TYPED_TEST(OffloadConformance, SwapsOnlyWithAHostTier) {
  const TypeParam policy{};
  Rng rng(3);
  bool swaps = false;
  for (int i = 0; i < 10000; ++i) {
    const PreemptionContext context = random_context(rng);
    const Preemption answer = policy.on_preempt(context);
    ASSERT_EQ(answer, policy.on_preempt(context));
    swaps = swaps || answer == Preemption::swap;
  }
  EXPECT_EQ(swaps, TypeParam::uses_host);
}

}  // namespace
}  // namespace quire::offload_test
