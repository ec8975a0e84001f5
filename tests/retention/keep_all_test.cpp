#include <quire/retention/keep_all.hpp>

#include <gtest/gtest.h>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(KeepAll, DropsNothingSoThatBlocksCanBeShared) {
  EXPECT_TRUE(retention::KeepAll::keeps_all);
  EXPECT_EQ(retention::KeepAll::name, "keep_all");
}

TEST(RetentionConformance, EveryPolicyIsNamed) {
  for_each_type(all_policies{}, []<class Policy>() {
    EXPECT_FALSE(Policy::name.empty());
    static_assert(RetentionPolicy<Policy>);
  });
}

}  // namespace
}  // namespace quire::retention_test
