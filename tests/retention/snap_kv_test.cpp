#include <quire/retention/snap_kv.hpp>

#include "tests/retention/naive_snap_kv.hpp"

namespace quire::retention_test {
namespace {

TEST(SnapKv, KeepsWhatTheEndOfThePromptAttendsTo) {
  expect_equals<retention::SnapKv>(
      [](const Scenario& s) {
        const std::int64_t chosen =
            s.limits.budget.value - std::min(s.limits.budget, s.limits.observation).value;
        return naive_snap_kv(s.limits, [=](std::int64_t, std::int64_t) { return chosen; });
      },
      500);
}

TEST(SnapKv, VotersAreTheLastQueriesOfThePrompt) {
  const retention::PromptEndVotes votes(RetentionLimits{.observation = 2});
  EXPECT_FALSE(votes.counts({.position = 7, .prompt = 10}));
  EXPECT_TRUE(votes.counts({.position = 8, .prompt = 10}));
  EXPECT_TRUE(votes.counts({.position = 9, .prompt = 10}));
  EXPECT_FALSE(votes.counts({.position = 10, .prompt = 10}));
}

}  // namespace
}  // namespace quire::retention_test
