#include <quire/retention/sliding_window.hpp>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(SlidingWindow, KeepsTheLastTokens) {
  expect_equals<retention::SlidingWindow>([](const Scenario& s) -> Naive::Keep {
    return [budget = s.limits.budget.value](std::set<std::int64_t> have, const auto& steps) {
      std::erase_if(have, [&](std::int64_t p) { return p < steps.back().computed - budget; });
      return have;
    };
  });
}

}  // namespace
}  // namespace quire::retention_test
