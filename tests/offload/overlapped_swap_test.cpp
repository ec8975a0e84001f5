#include <quire/offload/overlapped_swap.hpp>

#include <gtest/gtest.h>

#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/transfers.hpp>

namespace quire::offload_test {
namespace {

TEST(OverlappedSwap, MovesGroupsWhileLayersAreComputed) {
  const offload::OverlappedSwap policy;
  EXPECT_EQ(policy.on_preempt({.sequences = 1, .computed = 100, .blocks = 7, .host_free = 100}),
            Preemption::swap);
  EXPECT_TRUE(tier_rules<offload::OverlappedSwap>().overlaps);
  EXPECT_FALSE(tier_rules<offload::SwapToHost>().overlaps);
}

TEST(OverlappedSwap, HidesAllOfAShortMoveButOneLayer) {
  CostInputs in;
  in.model.layers = 10;
  in.overlaps = true;
  EXPECT_DOUBLE_EQ(cost_model::with_transfers(1.0, {.seconds = 0.5}, in), 1.05);
  EXPECT_DOUBLE_EQ(cost_model::with_transfers(1.0, {.seconds = 2.0}, in), 2.1);
  in.overlaps = false;
  EXPECT_DOUBLE_EQ(cost_model::with_transfers(1.0, {.seconds = 0.5}, in), 1.5);
}

}  // namespace
}  // namespace quire::offload_test
