#include <quire/workload/trace/share_gpt_json.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/common/mutate.hpp"
#include "tests/workload/trace/errors.hpp"

namespace {

using quire::Tokens;
using quire::testing::golden_trace;
using quire::testing::TempDir;
using namespace quire::workload::trace;

Tokens words(std::string_view text) {
  std::int64_t count = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n';
    count += !space && !inside;
    inside = !space;
  }
  return count;
}

TEST(ShareGptJson, TakesTheFirstQuestionAndTheReplyAfterIt) {
  std::vector<std::string> seen;
  const auto w = read_share_gpt_json(golden_trace("share_gpt.json"), [&](std::string_view text) {
    seen.emplace_back(text);
    return words(text);
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"one two three", "four \"five\" six\nseven", "nine ten",
                                            "eleven"}));
  ASSERT_EQ(w.requests.size(), 2u);
  EXPECT_EQ(w.requests[0].prompt_length, Tokens(3));
  EXPECT_EQ(w.requests[0].output_length, Tokens(4));
  EXPECT_EQ(w.provenance.rows, 4u);
  EXPECT_EQ(w.provenance.dropped, 2u);
  EXPECT_FALSE(w.timed);
}

TEST(ShareGptJson, FiltersByLength) {
  const auto w = read_share_gpt_json(golden_trace("share_gpt.json"), words, {.total_limit = 7});
  ASSERT_EQ(w.requests.size(), 1u);
  EXPECT_EQ(w.requests[0].prompt_length, Tokens(2));
  EXPECT_EQ(
      read_share_gpt_json(golden_trace("share_gpt.json"), words, {.limit = 1}).requests.size(), 1u);
  EXPECT_THROW(static_cast<void>(
                   read_share_gpt_json(golden_trace("share_gpt.json"), words, {.total_limit = 2})),
               quire::Error);
}

TEST(ShareGptJson, DamageGivesOneLineOrRequests) {
  const std::string good = quire::testing::read_file(golden_trace("share_gpt.json"));
  const TempDir folder;
  quire::testing::Mutator mutator(3, {"\"conversations\"", "\"from\": \"human\"", "[{", "}]"});
  std::size_t refused = 0;
  const std::size_t count = quire::testing::fuzz_count(100);
  for (std::size_t i = 0; i < count; ++i) {
    const auto file = folder.write("t", mutator.mutate(good));
    try {
      for (const auto& r : read_share_gpt_json(file, words).requests) {
        ASSERT_GT(r.prompt_length, Tokens(0));
        ASSERT_GT(*r.output_length, Tokens(0));
      }
    } catch (const quire::Error& error) {
      ++refused;
      ASSERT_EQ(std::string(error.what()).find(file.string()), 0u) << error.what();
      ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
  EXPECT_GT(refused, count / 10);
}

}  // namespace
