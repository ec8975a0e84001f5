#include <quire/workload/trace/burst_gpt.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::trace_error;
using namespace quire::workload::trace;

TEST(BurstGpt, ReadsTheHeaderWithoutSessions) {
  const auto w = read_trace<BurstGpt>(golden_trace("burst_gpt_1.csv"));
  ASSERT_EQ(w.requests.size(), 3u);
  EXPECT_EQ(w.provenance.dropped, 1u);  // the failed call
  EXPECT_EQ(w.requests[0].arrival.value, 0);
  EXPECT_EQ(w.requests[1].arrival.value, 40);
  EXPECT_EQ(w.requests[2].arrival.value, 113);
  EXPECT_EQ(w.requests[2].prompt_length, Tokens(30));
  EXPECT_EQ(w.requests[0].session, 0u);
}

TEST(BurstGpt, ReadsTheHeaderWithSessions) {
  const auto w = read_trace<BurstGpt>(golden_trace("burst_gpt_3.csv"));
  ASSERT_EQ(w.requests.size(), 4u);
  EXPECT_EQ(w.requests[2].arrival.value, 82.5);
  EXPECT_NE(w.requests[0].session, 0u);
  EXPECT_EQ(w.requests[0].session, w.requests[2].session);
  EXPECT_NE(w.requests[0].session, w.requests[1].session);
  EXPECT_EQ(w.requests[3].session, 0u);
}

TEST(BurstGpt, RefusesTimesThatAreNone) {
  const std::string head = "Timestamp,Model,Request tokens,Response tokens\n";
  EXPECT_NE(trace_error(head + "nan,a,1,1\n"), "");
  EXPECT_NE(trace_error(head + "-5,a,1,1\n"), "");
  EXPECT_EQ(trace_error(head + "5,a,1,1\n"), "");
}

}  // namespace
