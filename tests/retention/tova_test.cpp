#include <quire/retention/tova.hpp>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(Tova, DropsWhatTheLastQueryAttendsToLeast) {
  expect_equals<retention::Tova>([](const Scenario& s) -> Naive::Keep {
    const std::int64_t budget = s.limits.budget.value;
    return [=](std::set<std::int64_t> have, const std::vector<Naive::Step>& steps) {
      const Votes& last = steps.back().votes;
      const std::int64_t many = std::ssize(have) - budget;
      if (many > 0) {
        take_away(have, static_cast<std::size_t>(many), steps.back().computed,
                  [&](std::int64_t a, std::int64_t b) { return last.at(a) < last.at(b); });
      }
      return have;
    };
  });
}

}  // namespace
}  // namespace quire::retention_test
