#include <quire/admission/always.hpp>

#include <gtest/gtest.h>

namespace quire::admission_test {
namespace {

TEST(Always, AdmitsWhatNobodyAskedForBefore) {
  const admission::Always policy(BlockCount{1});
  EXPECT_TRUE(policy.admit({.content = 7}, std::nullopt));
  EXPECT_TRUE(policy.admit({.content = 7}, 8));
}

}  // namespace
}  // namespace quire::admission_test
