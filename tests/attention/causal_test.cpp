#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/reference.hpp>

namespace quire::attention {
namespace {

TEST(Causal, SeesEverythingBefore) {
  EXPECT_EQ(Causal{}.first_visible(0), 0);
  EXPECT_EQ(Causal{}.first_visible(1000), 0);
  EXPECT_EQ(Causal{}.logit(DoubleMath{}, 2.5, 0, 7.0), 2.5);
}

}  // namespace
}  // namespace quire::attention
