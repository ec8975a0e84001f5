#include <quire/workload/shared_prefix.hpp>

#include <set>

#include <gtest/gtest.h>

namespace {

using quire::Tokens;
using namespace quire::workload;

TEST(SharedPrefix, EveryPromptBeginsWithOneOfThePrefixes) {
  const Workload w =
      shared_prefix({.prefix = 341, .prefixes = 3, .generator = {.requests = 300, .seed = 1}});
  std::set<std::uint64_t> prefixes;
  std::set<std::uint64_t> questions;
  for (const auto& r : w.requests) {
    ASSERT_EQ(r.chunks.size(), 2u);
    EXPECT_EQ(r.chunks[0].tokens, Tokens(341));
    EXPECT_EQ(r.chunks[0].tokens + r.chunks[1].tokens, r.prompt_length);
    prefixes.insert(r.chunks[0].content);
    questions.insert(r.chunks[1].content);
  }
  EXPECT_EQ(prefixes.size(), 3u);
  EXPECT_EQ(questions.size(), 300u);
  const auto a = prompt_tokens(w.requests[0]);
  for (const auto& r : w.requests) {
    if (r.chunks[0].content != w.requests[0].chunks[0].content) continue;
    const auto b = prompt_tokens(r);
    EXPECT_TRUE(std::equal(a.begin(), a.begin() + 341, b.begin()));
  }
}

TEST(SharedPrefix, RefusesNoPrefix) {
  EXPECT_THROW(static_cast<void>(shared_prefix({.prefix = 0})), quire::Error);
  EXPECT_THROW(static_cast<void>(shared_prefix({.prefixes = 0})), quire::Error);
}

}  // namespace
