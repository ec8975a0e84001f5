#include <quire/workload/trace/open_trace.hpp>

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/common/mutate.hpp"
#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::TempDir;
using quire::testing::trace_error;
using namespace quire::workload::trace;

const std::vector<std::pair<std::string, std::string>> files{
    {"azure.csv", "azure"},           {"burst_gpt_1.csv", "burst_gpt"},
    {"burst_gpt_3.csv", "burst_gpt"}, {"sarathi.csv", "vidur"},
    {"vidur.csv", "vidur"},           {"llm_serving_sim.csv", "llm_serving_sim"},
    {"mooncake.jsonl", "mooncake"},   {"qwen_bailian.jsonl", "qwen_bailian"},
    {"plain.csv", "plain_csv"}};

TEST(OpenTrace, RecognizesEverySchema) {
  for (const auto& [file, schema] : files) {
    EXPECT_EQ(open_trace(golden_trace(file)).provenance.schema, schema) << file;
  }
}

TEST(OpenTrace, RefusesTheUnknownWithASentence) {
  EXPECT_EQ(
      trace_error("a,b,c\n1,2,3\n"),
      "t: line 1: is the start of no schema that Quire knows; expected one of azure, burst_gpt, "
      "vidur, llm_serving_sim, mooncake, qwen_bailian, plain_csv (plain_csv needs the columns "
      "input and output)");
  EXPECT_EQ(trace_error(""), "t: is empty; expected a trace");
  EXPECT_EQ(trace_error("\n \n"), "t: is empty; expected a trace");
  EXPECT_NE(trace_error("[{\"conversations\": []}]").find("read_share_gpt_json"),
            std::string::npos);
  EXPECT_NE(trace_error(std::string_view("\0\1\2", 3)), "");
}

/// Every damaged file gives requests that an engine can take, or one line naming the file.
TEST(OpenTrace, DamageGivesOneLineOrRequests) {
  const TempDir folder;
  const std::size_t count = quire::testing::fuzz_count(50);  // x 9 files; scale 20: 9,000
  for (std::size_t f = 0; f < files.size(); ++f) {
    const std::string good = quire::testing::read_file(golden_trace(files[f].first));
    quire::testing::Mutator mutator(f, {",", "\n", "\r\n", "\"", ",,", "2023-11-16 18:15:46", "1e9",
                                        "16777217", "\"hash_ids\": []"});
    std::size_t refused = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto file = folder.write("t", mutator.mutate(good));
      try {
        const auto w = open_trace(file);
        ASSERT_FALSE(w.requests.empty());
        quire::Seconds before = 0.0;
        for (const auto& r : w.requests) {
          ASSERT_GT(r.prompt_length, Tokens(0));
          ASSERT_LE(r.prompt_length, Tokens(max_request_tokens));
          ASSERT_GT(*r.output_length, Tokens(0));
          ASSERT_GE(r.arrival, before);
          before = r.arrival;
          Tokens sum = 0;
          for (const auto& chunk : r.chunks) sum += chunk.tokens;
          ASSERT_EQ(r.chunks.empty() ? r.prompt_length : sum, r.prompt_length);
        }
      } catch (const quire::Error& error) {
        ++refused;
        ASSERT_EQ(std::string(error.what()).find(file.string()), 0u) << error.what();
        ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      }
    }
    EXPECT_GT(refused, count / 20) << files[f].first;
  }
}

/// A file cut anywhere but between two rows is refused, or what is left is whole rows.
TEST(OpenTrace, CutsAreSeenInJsonLines) {
  for (const char* name : {"mooncake.jsonl", "qwen_bailian.jsonl"}) {
    const std::string good = quire::testing::read_file(golden_trace(name));
    for (std::size_t length = 1; length < good.size(); ++length) {
      const bool between = good[length - 1] == '\n' || good[length] == '\n';
      EXPECT_EQ(trace_error(good.substr(0, length)).empty(), between) << name << " " << length;
    }
  }
}

}  // namespace
