#include <quire/retention/pyramid_kv.hpp>

#include "tests/retention/naive_snap_kv.hpp"

namespace quire::retention_test {
namespace {

TEST(PyramidKv, IsSnapKvWithABudgetForEachLayer) {
  expect_equals<retention::PyramidKv>(
      [](const Scenario& s) {
        // the arithmetic of the paper's repository, written out
        return naive_snap_kv(s.limits, [s](std::int64_t layer, std::int64_t prompt) {
          const std::int64_t window = std::min(s.limits.budget, s.limits.observation).value;
          const std::int64_t mean = s.limits.budget.value - window;
          if (s.layers == 1) return mean;
          std::int64_t low = mean / s.limits.pyramid_slope, high = mean * 2 - low;
          if (high >= prompt - window) {
            high = prompt - window;
            low = mean * 2 - high;
          }
          return high - layer * ((high - low) / (s.layers - 1));
        });
      },
      500);
}

TEST(PyramidKv, BudgetsFallWithDepthAndMeanWhatWasAsked) {
  const retention::PyramidKv policy({.budget = 84, .observation = 4, .pyramid_slope = 20}, 5);
  std::int64_t sum = 0;
  for (std::int64_t layer = 0; layer < 5; ++layer) {
    if (layer > 0) {
      EXPECT_LT(policy.chosen(layer, 1000), policy.chosen(layer - 1, 1000));
    }
    sum += policy.chosen(layer, 1000).value;
  }
  EXPECT_EQ(sum, 5 * 80);
  EXPECT_EQ(policy.chosen(0, 1000), Tokens{156});
  EXPECT_EQ(policy.chosen(4, 1000), Tokens{4});
}

}  // namespace
}  // namespace quire::retention_test
