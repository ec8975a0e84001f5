#include <cmath>

#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/reference.hpp>
#include <quire/attention/sinks.hpp>
#include <quire/attention/sliding_window.hpp>

namespace quire::attention {
namespace {

// Three positions of one value each, worked out by hand.
const float keys[] = {1, 0, 2}, values[] = {10, 20, 30}, q[] = {1};

TEST(Reference, HandComputedSoftmax) {
  const double e = std::exp(1.0);
  EXPECT_NEAR(reference(Causal{}, 0, 2, 1, 1, q, keys, values)[0],
              (e * 10 + 20 + e * e * 30) / (e + 1 + e * e), 1e-12);
  EXPECT_NEAR(reference(Causal{}, 0, 1, 2, 1, q, keys, values)[0], (e * e * 10 + 20) / (e * e + 1),
              1e-12);
  EXPECT_EQ(reference(Causal{}, 0, 0, 1, 1, q, keys, values)[0], 10);
  EXPECT_NEAR(reference(SlidingWindow(2), 0, 2, 1, 1, q, keys, values)[0],
              (20 + e * e * 30) / (1 + e * e), 1e-12);
  const float sink[] = {0};
  EXPECT_NEAR(reference(Sinks(sink), 0, 0, 1, 1, q, keys, values)[0], e * 10 / (e + 1), 1e-12);
}

}  // namespace
}  // namespace quire::attention
