#include <quire/workload/trace/mooncake.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::trace_error;
using namespace quire::workload::trace;

TEST(Mooncake, TurnsBlockIdsIntoChunks) {
  const auto w = read_trace<Mooncake>(golden_trace("mooncake.jsonl"));
  ASSERT_EQ(w.requests.size(), 3u);
  const auto& chunks = w.requests[1].chunks;
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].content, 0u);
  EXPECT_EQ(chunks[2].content, 3u);
  EXPECT_EQ(chunks[0].tokens, Tokens(512));
  EXPECT_EQ(chunks[2].tokens, Tokens(76));
  EXPECT_EQ(w.requests[1].arrival.value, 3.0);
  EXPECT_EQ(w.requests[2].chunks.size(), 1u);
}

TEST(Mooncake, EqualIdsBecomeEqualTokens) {
  const auto w = read_trace<Mooncake>(golden_trace("mooncake.jsonl"));
  const auto a = prompt_tokens(w.requests[0]);
  const auto b = prompt_tokens(w.requests[1]);
  EXPECT_EQ(a.size(), 1300u);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 1024, b.begin()));
  EXPECT_NE(a[1024], b[1024]);
}

TEST(Mooncake, NamesWhatIsWrongInARow) {
  EXPECT_EQ(
      trace_error(R"({"timestamp": 0, "input_length": 513, "output_length": 1, "hash_ids": []})"),
      "t: line 1, field 'hash_ids': has 0 ids for 513 tokens; expected one id for every 512 "
      "tokens");
  EXPECT_EQ(trace_error("{\"timestamp\": 0, \"input_length\": 5, \"hash_ids\": [1]}\n"),
            "t: line 1, byte 52: the row has no 'output_length'; expected that member");
  EXPECT_EQ(
      trace_error(R"({"timestamp": 0, "input_length": -5, "output_length": 1, "hash_ids": []})"),
      "t: line 1, byte 35, field 'input_length': the length is out of range; expected from 0 "
      "to 16777216");
  EXPECT_NE(
      trace_error(R"({"timestamp": -1, "input_length": 5, "output_length": 1, "hash_ids": [1]})"),
      "");
  EXPECT_NE(
      trace_error(R"({"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [-1]})"),
      "");
  EXPECT_NE(
      trace_error(
          R"({"timestamp": 0, "timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]})"),
      "");
  EXPECT_NE(
      trace_error(R"({"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1])"),
      "");
}

}  // namespace
