#include <quire/offload/cost_based.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace quire::offload_test {
namespace {

TEST(CostBased, SwapsWhereThatIsFaster) {
  const offload::CostBased policy;
  EXPECT_EQ(policy.on_preempt({.recompute = 2.0, .swap = 1.0}), Preemption::swap);
  EXPECT_EQ(policy.on_preempt({.recompute = 1.0, .swap = 2.0}), Preemption::recompute);
  EXPECT_EQ(policy.on_preempt({}), Preemption::recompute) << "nothing is known";
}

TEST(CostBased, FetchesTheBeginningThatSavesMost) {
  const offload::CostBased policy;
  auto fetched = [&policy](std::vector<FetchCandidate> c) { return policy.blocks_to_fetch(c); };
  EXPECT_EQ(fetched({}), 0u);
  EXPECT_EQ(fetched({{false, 0.0, 0.0}, {true, 0.0, 0.0}}), 2u) << "nothing is known";
  EXPECT_EQ(fetched({{false, 2.0, 1.0}, {true, 2.0, 5.0}}), 1u) << "the disk is too slow";
  EXPECT_EQ(fetched({{true, 1.0, 5.0}, {false, 1.0, 1.5}}), 0u);
  // a dear block is fetched for the sake of those behind it
  EXPECT_EQ(fetched({{true, 1.0, 2.0}, {false, 4.0, 1.0}, {false, 1.0, 3.0}}), 2u);
}

}  // namespace
}  // namespace quire::offload_test
