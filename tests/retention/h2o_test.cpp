#include <quire/retention/h2o.hpp>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(H2O, KeepsRecentTokensAndHeavyHitters) {
  expect_equals<retention::H2O>([](const Scenario& s) -> Naive::Keep {
    const std::int64_t budget = s.limits.budget.value;
    return [=](std::set<std::int64_t> have, const std::vector<Naive::Step>& steps) {
      const std::int64_t end = steps.back().computed;
      auto mass = [&](std::int64_t p) {
        std::int64_t sum = 0;
        for (const Naive::Step& step : steps) {
          if (p < step.computed) sum += step.votes.at(p);
        }
        return sum;
      };
      const std::int64_t many = std::ssize(have) - budget;
      if (many > 0) {
        take_away(have, static_cast<std::size_t>(many), end - budget / 2,
                  [&](std::int64_t a, std::int64_t b) { return mass(a) < mass(b); });
      }
      return have;
    };
  });
}

TEST(H2O, AHeavyHitterOutlivesTheWindow) {
  OneLane<retention::H2O> lane({.budget = 4}, 1);
  for (std::int64_t t = 0; t < 50; ++t) lane.step({1, t + 1, 1, 0, {{3, 100}}}, true);
  EXPECT_EQ(lane.kept(), (std::set<std::int64_t>{3, 47, 48, 49}));
}

}  // namespace
}  // namespace quire::retention_test
