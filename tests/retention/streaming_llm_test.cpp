#include <quire/retention/streaming_llm.hpp>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(StreamingLlm, KeepsSinksAndTheLastTokens) {
  expect_equals<retention::StreamingLlm>([](const Scenario& s) -> Naive::Keep {
    const std::int64_t budget = s.limits.budget.value;
    const std::int64_t sinks = std::min(s.limits.sinks.value, budget);
    return [=](std::set<std::int64_t> have, const auto& steps) {
      const std::int64_t end = steps.back().computed;
      if (end <= budget) return have;
      std::erase_if(have, [&](std::int64_t p) { return p >= sinks && p < end - (budget - sinks); });
      return have;
    };
  });
}

}  // namespace
}  // namespace quire::retention_test
