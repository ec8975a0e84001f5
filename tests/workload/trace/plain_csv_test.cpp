#include <quire/workload/trace/plain_csv.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::trace_error;
using namespace quire::workload::trace;

TEST(PlainCsv, ReadsEveryColumn) {
  const auto w = read_trace<PlainCsv>(golden_trace("plain.csv"));
  ASSERT_EQ(w.requests.size(), 3u);
  EXPECT_EQ(w.provenance.reordered, 1u);
  const auto& second = w.requests[2];  // at 1.5, the last in time
  EXPECT_EQ(second.arrival.value, 1.5);
  EXPECT_EQ(second.sampling.n, 4);
  EXPECT_EQ(second.session, 7u);
  EXPECT_EQ(second.turn, 1);
  EXPECT_EQ(second.tenant.value, 2u);
  EXPECT_EQ(second.priority, -1);
  const auto a = prompt_tokens(w.requests[0]);
  const auto b = prompt_tokens(second);
  EXPECT_EQ(a.size(), 100u);
  EXPECT_EQ(b.size(), 90u);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 80, b.begin()));
  EXPECT_NE(a[80], b[80]);
  EXPECT_TRUE(w.requests[1].chunks.empty());  // a prefix of no tokens is none
  EXPECT_EQ(second.salt, 9u);
  EXPECT_EQ(second.keep_for.value, 2.5);
}

TEST(PlainCsv, TakesLengthsAlone) {
  EXPECT_FALSE(PlainCsv::recognizes("pct,input,output,total"));
  EXPECT_FALSE(PlainCsv::recognizes("input"));
  EXPECT_TRUE(PlainCsv::recognizes("output, input"));
  EXPECT_EQ(trace_error("output,input\n3,4\n"), "");
}

TEST(PlainCsv, RefusesWhatCannotBe) {
  EXPECT_NE(trace_error("input,output,prefix\n3,4,1\n"), "");
  EXPECT_NE(trace_error("input,output,prefix,prefix_tokens\n3,4,1,5\n"), "");
  EXPECT_NE(trace_error("input,output,n\n3,4,0\n"), "");
  EXPECT_NE(trace_error("input,output,n\n3,4,5000000000\n"), "");
  EXPECT_NE(trace_error("input,output,arrival\n3,4,-1\n"), "");
  EXPECT_NE(trace_error("input,output,salt\n3,4,-1\n"), "");
  EXPECT_NE(trace_error("input,output,keep_for\n3,4,-1\n"), "");
}

}  // namespace
