#include <quire/workload/trace/vidur.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::trace_error;
using namespace quire::workload::trace;

TEST(Vidur, ReadsLengthsWithAndWithoutArrivals) {
  const auto lengths = read_trace<Vidur>(golden_trace("sarathi.csv"));
  EXPECT_FALSE(lengths.timed);
  ASSERT_EQ(lengths.requests.size(), 2u);
  EXPECT_EQ(lengths.requests[0].prompt_length, Tokens(74));
  EXPECT_EQ(lengths.requests[0].output_length, Tokens(918));
  const auto replay = read_trace<Vidur>(golden_trace("vidur.csv"));
  EXPECT_TRUE(replay.timed);
  EXPECT_NEAR(replay.requests[1].arrival.value, 4.314579, 1e-12);
}

TEST(Vidur, ChecksTheTotal) {
  EXPECT_EQ(trace_error("num_prefill_tokens,num_decode_tokens,num_total_tokens\n5,6,12\n"),
            "t: line 2, field 'num_total_tokens': does not add up; expected prefill plus decode "
            "tokens");
}

}  // namespace
