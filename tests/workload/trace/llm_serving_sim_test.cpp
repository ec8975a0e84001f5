#include <quire/workload/trace/llm_serving_sim.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using namespace quire::workload::trace;

TEST(LlmServingSim, ReadsNanoseconds) {
  const auto w = read_trace<LlmServingSim>(golden_trace("llm_serving_sim.csv"));
  ASSERT_EQ(w.requests.size(), 2u);
  EXPECT_NEAR(w.requests[0].arrival.value, 0.046926808, 1e-15);
  EXPECT_NEAR(w.requests[1].arrival.value, 0.347938951, 1e-15);
  EXPECT_EQ(w.requests[1].prompt_length, Tokens(1034));
  EXPECT_EQ(w.requests[1].output_length, Tokens(769));
}

}  // namespace
