#include <quire/workload/trace/reader.hpp>

#include <gtest/gtest.h>

#include <quire/workload/trace/plain_csv.hpp>

#include "tests/common/temp_file.hpp"

namespace {

using quire::Seconds;
using quire::Tokens;
using quire::testing::TempDir;
using namespace quire::workload::trace;

constexpr const char* rows = "input,output,arrival\n10,1,5\n20,0,6\n30,3,4\n40,4,7\n";

TEST(ReadTrace, SortsNumbersAndCounts) {
  const TempDir folder;
  const auto workload = read_trace<PlainCsv>(folder.write("my.csv", rows));
  EXPECT_EQ(workload.name, "my");
  EXPECT_EQ(workload.provenance.rows, 4u);
  EXPECT_EQ(workload.provenance.dropped, 1u);
  EXPECT_EQ(workload.provenance.reordered, 1u);
  ASSERT_EQ(workload.requests.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(workload.requests[i].id.value, i);
  EXPECT_EQ(workload.requests[0].prompt_length, Tokens(30));
  EXPECT_EQ(workload.requests[1].prompt_length, Tokens(10));
  EXPECT_EQ(workload.requests[2].prompt_length, Tokens(40));
  EXPECT_EQ(workload.requests[2].sampling.max_tokens, Tokens(4));
  EXPECT_TRUE(workload.requests[2].sampling.ignore_eos);
  EXPECT_TRUE(workload.timed);
}

TEST(ReadTrace, RefusesWhereAsked) {
  const TempDir folder;
  const auto file = folder.write("t", rows);
  EXPECT_THROW(static_cast<void>(read_trace<PlainCsv>(file, {.zero_lengths = ZeroLengths::refuse})),
               quire::Error);
  EXPECT_THROW(static_cast<void>(read_trace<PlainCsv>(file, {.refuse_unsorted = true})),
               quire::Error);
  EXPECT_THROW(static_cast<void>(read_trace<PlainCsv>(folder.write("e", "input,output\n0,0\n"))),
               quire::Error);
}

TEST(ReadTrace, StopsAtTheLimitAndStillHashesTheFile) {
  const TempDir folder;
  const auto file = folder.write("t", rows);
  const auto part = read_trace<PlainCsv>(file, {.limit = 1});
  EXPECT_EQ(part.requests.size(), 1u);
  EXPECT_EQ(part.provenance.rows, 1u);
  EXPECT_EQ(part.provenance.sha256, read_trace<PlainCsv>(file).provenance.sha256);
}

TEST(ReadTrace, JittersWithinItsBoundAndRepeatably) {
  const TempDir folder;
  std::string text = "input,output,arrival\n";
  for (int i = 0; i < 400; ++i) text += "1,1," + std::to_string(3 * (i / 100)) + "\n";
  const auto file = folder.write("t", text);
  const auto a = read_trace<PlainCsv>(file, {.jitter = 3.0, .seed = 7});
  const auto b = read_trace<PlainCsv>(file, {.jitter = 3.0, .seed = 7});
  const auto c = read_trace<PlainCsv>(file, {.jitter = 3.0, .seed = 8});
  double sum = 0;
  bool differs = false;
  for (std::size_t i = 0; i < 400; ++i) {
    EXPECT_EQ(a.requests[i].arrival, b.requests[i].arrival);
    differs = differs || a.requests[i].arrival != c.requests[i].arrival;
    EXPECT_LE(a.requests[i == 0 ? 0 : i - 1].arrival, a.requests[i].arrival);
    EXPECT_GE(a.requests[i].arrival, Seconds(3.0 * static_cast<double>(i / 100)));
    EXPECT_LT(a.requests[i].arrival, Seconds(3.0 * static_cast<double>(i / 100) + 3.0));
    sum += a.requests[i].arrival.value;
  }
  EXPECT_TRUE(differs);
  EXPECT_NEAR(sum / 400, 6.0, 0.15);  // groups at 0, 3, 6, 9, moved by 1.5 on average
}

}  // namespace
