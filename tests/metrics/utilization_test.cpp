#include <quire/metrics/utilization.hpp>

#include <gtest/gtest.h>

namespace quire::metrics {
namespace {

TEST(ModelFlops, AreTwoAWeightAndFourAPositionOfEachHead) {
  model::Shape m{.name = "unit",
                 .layers = 3,
                 .hidden = 8,
                 .heads = 2,
                 .kv_heads = 1,
                 .head_dim = 4,
                 .ffn = 16,
                 .vocab = 100};
  ModelFlops f(m);
  f.add(5, 1, 1);  // one token attends to six positions
  const double weights = 3.0 * (8 * 4 * (2 * 2 + 2) + 3 * 8 * 16);
  double expected = 2 * weights + 2 * 8 * 100 + 4.0 * 3 * 8 * 6;
  EXPECT_DOUBLE_EQ(f.flops(), expected);
  f.add(0, 4, 0);  // inside a prompt: 1 + 2 + 3 + 4 positions, no logits
  expected += 4 * 2 * weights + 4.0 * 3 * 8 * 10;
  EXPECT_DOUBLE_EQ(f.flops(), expected);
  EXPECT_DOUBLE_EQ(f.mfu(2.0, expected, 2), 0.25);
  m.experts = 4;
  m.experts_per_token = 2;
  ModelFlops routed(m);
  routed.add(0, 1, 0);
  EXPECT_DOUBLE_EQ(routed.flops(),
                   2.0 * 3 * (8 * 4 * 6 + 2 * 3 * 8 * 16 + 8 * 4) + 4.0 * 3 * 8 * 1);
}

}  // namespace
}  // namespace quire::metrics
