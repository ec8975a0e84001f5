#include <quire/retention/scissorhands.hpp>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(Scissorhands, DropsWhatWasLowMostOften) {
  expect_equals<retention::Scissorhands>([](const Scenario& s) -> Naive::Keep {
    const std::int64_t budget = s.limits.budget.value;
    const std::int64_t recent = std::min(s.limits.recent.value, budget);
    const std::int64_t part = (s.limits.history.value + 15) / 16;
    return [=](std::set<std::int64_t> have, const std::vector<Naive::Step>& steps) {
      const std::int64_t end = steps.back().computed;
      // a step's queries belong to the stretch of the text in which it ends; 16 stretches count
      auto low = [&](std::int64_t p) {
        std::int64_t sum = 0;
        for (const Naive::Step& step : steps) {
          const bool counts = end / part - step.computed / part < 16;
          if (counts && p < step.computed) sum += step.votes.at(p);
        }
        return sum;
      };
      const std::int64_t many = std::ssize(have) - budget;
      if (many > 0) {
        take_away(have, static_cast<std::size_t>(many), end - recent,
                  [&](std::int64_t a, std::int64_t b) { return low(a) > low(b); });
      }
      return have;
    };
  });
}

TEST(Scissorhands, AVoteIsAWeightBelowTheEvenShare) {
  const retention::LowVotes votes(RetentionLimits{.history = 3});
  EXPECT_EQ(votes.vote(retention::whole_vote / 4, {.visible = 4}), 0);
  EXPECT_EQ(votes.vote(retention::whole_vote / 4 - 1, {.visible = 4}), 1);
  EXPECT_TRUE(votes.counts({.after = 2}));
  EXPECT_FALSE(votes.counts({.after = 3}));
}

}  // namespace
}  // namespace quire::retention_test
