#include <quire/retention/keep_all.hpp>

#include <gtest/gtest.h>

namespace quire::retention_test {
namespace {

TEST(KeepAll, DropsNothingSoThatBlocksCanBeShared) {
  EXPECT_TRUE(retention::KeepAll::keeps_all);
  EXPECT_EQ(retention::KeepAll::name, "keep_all");
}

}  // namespace
}  // namespace quire::retention_test
