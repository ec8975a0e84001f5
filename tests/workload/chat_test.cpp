#include <quire/workload/chat.hpp>

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::PromptChunk;
using quire::Tokens;
using namespace quire::workload;

TEST(Chat, KeepsTheLastTokensOnly) {
  std::vector<PromptChunk> chunks{{1, 10}, {2, 5}, {3, 8}};
  detail::keep_last(chunks, 23);
  EXPECT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].content, 1u);
  detail::keep_last(chunks, 13);  // exactly two chunks
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[0].content, 2u);
  detail::keep_last(chunks, 10);  // cuts into the first
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[0].tokens, Tokens(2));
  EXPECT_NE(chunks[0].content, 2u);
  EXPECT_EQ(chunks[1].content, 3u);
}

TEST(Chat, TurnsGoOnFromWhatWasSaid) {
  const Workload w = chat({.new_probability = 0.2, .generator = {.requests = 2000, .seed = 1}});
  std::map<std::uint64_t, std::int32_t> turns;
  std::map<std::uint64_t, std::vector<quire::TokenId>> last;
  std::size_t continued = 0;
  std::size_t cut = 0;
  for (const auto& r : w.requests) {
    EXPECT_EQ(r.turn, turns[r.session]++);
    EXPECT_LE(r.prompt_length, Tokens(1024));
    EXPECT_LE(*r.output_length, Tokens(1024));
    EXPECT_EQ(r.sampling.max_tokens, *r.output_length);
    const auto prompt = prompt_tokens(r);
    EXPECT_EQ(prompt.size(), static_cast<std::size_t>(r.prompt_length.value));
    // what the next turn finds in its history is what this one is said to generate
    EXPECT_NE(r.reply, 0u);
    auto before = last[r.session];
    if (r.turn > 0 && r.prompt_length < Tokens(1024)) {  // nothing cut: the prompt has grown
      ASSERT_LT(before.size(), prompt.size());
      EXPECT_TRUE(std::equal(before.begin(), before.end(), prompt.begin()));
      ++continued;
    }
    cut += r.prompt_length == Tokens(1024);
    last[r.session] = prompt;
    for (std::int64_t t = 0; t < r.output_length->value; ++t) {
      last[r.session].push_back(quire::chunk_token(r.reply, t));
    }
  }
  EXPECT_GT(continued, 100u);
  EXPECT_GT(cut, 100u);
  EXPECT_NEAR(static_cast<double>(turns.size()), 400, 60);
}

TEST(Chat, RefusesWhatCannotBe) {
  EXPECT_THROW(static_cast<void>(chat({.context = 0})), quire::Error);
  EXPECT_THROW(static_cast<void>(chat({.max_output = 0})), quire::Error);
  EXPECT_THROW(static_cast<void>(chat({.new_probability = 1.5})), quire::Error);
}

}  // namespace
