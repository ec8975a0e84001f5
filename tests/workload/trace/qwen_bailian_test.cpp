#include <quire/workload/trace/qwen_bailian.hpp>

#include <gtest/gtest.h>

#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::trace_error;
using namespace quire::workload::trace;

TEST(QwenBailian, ReadsSessionsTurnsAndBlocks) {
  const auto w = read_trace<QwenBailian>(golden_trace("qwen_bailian.jsonl"));
  ASSERT_EQ(w.requests.size(), 3u);
  EXPECT_EQ(w.requests[0].session, 56u);
  EXPECT_EQ(w.requests[1].session, 91u);
  EXPECT_EQ(w.requests[2].session, 56u);
  EXPECT_EQ(w.requests[2].turn, 2);
  EXPECT_EQ(w.requests[0].chunks.size(), 3u);
  EXPECT_EQ(w.requests[0].chunks[2].tokens, Tokens(8));
  ASSERT_EQ(w.requests[2].chunks.size(), 5u);  // four full blocks and the rest
  EXPECT_EQ(w.requests[2].chunks[4].tokens, Tokens(6));
  EXPECT_NEAR(w.requests[2].arrival.value, 61.114, 1e-12);
}

TEST(QwenBailian, RefusesRowsThatDoNotFit) {
  const std::string good =
      R"({"chat_id": 1, "parent_chat_id": -1, "timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1], "turn": 1})";
  EXPECT_EQ(trace_error(good), "");
  const auto with = [&good](const std::string& from, const std::string& to) {
    std::string row = good;
    return trace_error(row.replace(row.find(from), from.size(), to));
  };
  EXPECT_NE(with("\"chat_id\": 1", "\"chat_id\": -2"), "");
  EXPECT_NE(with("\"chat_id\": 1", "\"chat_id\": 9223372036854775807"), "");
  EXPECT_NE(with("\"turn\": 1", "\"turn\": 3000000000"), "");
  EXPECT_NE(with("[1]", "[1, 2, 3]"), "");
  EXPECT_NE(with("\"parent_chat_id\": -1, ", ""), "");
}

}  // namespace
