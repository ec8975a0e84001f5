#include <quire/workload/trace/hash_blocks.hpp>

#include <gtest/gtest.h>

namespace {

using quire::PromptChunk;
using quire::Tokens;
using namespace quire::workload::trace;

const auto never = [](const std::string&, const std::string&) { FAIL(); };

TEST(HashBlocks, GivesTheRestOfThePromptItsOwnText) {
  const auto chunks = chunks_of({5, 6}, 40, 16, 99, never);  // ids for full blocks only
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[1].tokens, Tokens(16));
  EXPECT_EQ(chunks[2].content, 99u);
  EXPECT_EQ(chunks[2].tokens, Tokens(8));
  EXPECT_EQ(chunks_of({5, 6, 7}, 40, 16, 99, never).back().content, 7u);
  EXPECT_TRUE(chunks_of({}, 0, 16, 99, never).empty());
}

TEST(HashBlocks, SplitsByTheRuleOfTheReference) {
  // Block h of 512 becomes h * 32 + j of 16; ceil(1045 / 16) = 66 of them are kept.
  const std::vector<PromptChunk> row{{0, 512}, {9, 512}, {4, 21}};
  const auto parts = split_chunks(row, 512, 16);
  ASSERT_EQ(parts.size(), 66u);
  EXPECT_EQ(parts[0].content, 0u);
  EXPECT_EQ(parts[31].content, 31u);
  EXPECT_EQ(parts[32].content, 9u * 32);
  EXPECT_EQ(parts[64].content, 4u * 32);
  EXPECT_EQ(parts[65].content, 4u * 32 + 1);
  EXPECT_EQ(parts[65].tokens, Tokens(5));
  Tokens total = 0;
  for (const auto& part : parts) total += part.tokens;
  EXPECT_EQ(total, Tokens(1045));
  EXPECT_EQ(split_chunks(row, 512, 512).size(), row.size());
  EXPECT_THROW(static_cast<void>(split_chunks(row, 512, 24)), quire::Error);
  EXPECT_THROW(static_cast<void>(split_chunks(row, 512, 0)), quire::Error);
}

}  // namespace
