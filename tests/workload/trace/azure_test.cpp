#include <quire/workload/trace/azure.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::trace_error;
using namespace quire::workload::trace;

TEST(Azure, ReadsTimesToTheTenthOfAMicrosecond) {
  const auto w = read_trace<Azure>(golden_trace("azure.csv"));
  ASSERT_EQ(w.requests.size(), 3u);
  EXPECT_EQ(w.requests[0].arrival.value, 0);
  EXPECT_NEAR(w.requests[1].arrival.value, 4.314579, 1e-9);
  EXPECT_NEAR(w.requests[2].arrival.value, 14.31941, 1e-9);
  EXPECT_EQ(w.requests[1].prompt_length, Tokens(396));
  EXPECT_EQ(w.requests[1].output_length, Tokens(109));
}

TEST(Azure, ReadsTheTimesOfBothYears) {
  EXPECT_EQ(parse_timestamp("1970-01-01 00:00:00"), 0);
  EXPECT_EQ(parse_timestamp("1970-01-01T00:00:01.5Z"), 1'500'000'000);
  EXPECT_EQ(parse_timestamp("2000-03-01 00:00:00"), 951'868'800'000'000'000);
  EXPECT_EQ(parse_timestamp("2024-02-29 12:00:00.000001+00:00"), 1'709'208'000'000'001'000);
  EXPECT_EQ(parse_timestamp("2024-05-12 02:00:00+02:00"), parse_timestamp("2024-05-12 00:00:00"));
  for (const char* text :
       {"", "2023", "2023-13-01 00:00:00", "2023-00-01 00:00:00", "2023-01-32 00:00:00",
        "2023-01-01", "2023-01-01 24:00:00", "2023-01-01 00:60:00", "2023-01-01 00:00:00.",
        "2023-01-01 00:00:00.1234567890", "2023-01-01 00:00:00 ", "2023-01-01 00:00:00+",
        "-023-01-01 00:00:00", "2023-01-01 00:00:0x", "9999-01-01 00:00:00"}) {
    EXPECT_EQ(parse_timestamp(text), std::nullopt) << text;
  }
}

TEST(Azure, NamesTheFieldThatIsWrong) {
  const std::string head = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  EXPECT_EQ(trace_error(head + "yesterday,1,1\n"),
            "t: line 2, field 'TIMESTAMP': is not a time; expected as in 2023-11-16 "
            "18:15:46.6805900");
  EXPECT_EQ(
      trace_error(head + "2023-11-16 18:15:46,-1,1\n"),
      "t: line 2, field 'ContextTokens': '-1' is out of range; expected a whole number from 0 "
      "to 16777216");
  EXPECT_EQ(trace_error(head),
            "t: has no request; expected at least one row with input and output tokens");
  EXPECT_EQ(trace_error(head + "2023-11-16 18:15:46,10,0\n"),
            "t: has no request with input and output tokens: 1 without were left out; expected at "
            "least one row with input and output tokens");
  EXPECT_EQ(trace_error("TIMESTAMP,ContextTokens\n"),
            "t: line 1: has no column 'GeneratedTokens'; expected the columns TIMESTAMP, "
            "ContextTokens, GeneratedTokens");
}

}  // namespace
