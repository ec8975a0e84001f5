#include "tests/speculation/conformance.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace quire::speculation_test {
namespace {

template <class Policy>
class SpeculationConformance : public ::testing::Test {};
using Policies = as_gtest_types<all_policies>::type;
TYPED_TEST_SUITE(SpeculationConformance, Policies);

TYPED_TEST(SpeculationConformance, NeverProposesMoreThanIsAskedForAndFewerAreTheFirstOfMore) {
  if constexpr (speculation::drafts_by_model<TypeParam>) {
    EXPECT_GT(Tokens{TypeParam::most}, Tokens{0});
    return;
  } else {
    Rng rng(1);
    const TypeParam policy, other;
    for (int trial = 0; trial < 500; ++trial) {
      const auto text = repetitive_text(rng, rng.below(60), 1 + rng.below(20));
      std::vector<TokenId> all;
      policy.propose(text, TypeParam::most, all);
      ASSERT_LE(std::ssize(all), Tokens{TypeParam::most}.value);
      for (std::int64_t most = 0; most <= Tokens{TypeParam::most}.value + 3; ++most) {
        std::vector<TokenId> some;
        other.propose(text, most, some);
        const auto count = std::min<std::ptrdiff_t>(most, std::ssize(all));
        ASSERT_EQ(some, std::vector<TokenId>(all.begin(), all.begin() + count)) << most;
      }
    }
  }
}

}  // namespace
}  // namespace quire::speculation_test
