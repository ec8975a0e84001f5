#include <quire/executor/draft_book.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/override.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/speculation/draft_model.hpp>

namespace quire::executor {
namespace {

TEST(DraftBook, KeepsWhatASequenceHadUntilBlocksRunOut) {
  DraftBook book(4, 4);
  book.begin_step();
  DraftBook::Entry* a = book.take({1}, 5);
  DraftBook::Entry* b = book.take({2}, 4);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(a->blocks.size(), 2u);
  EXPECT_EQ(b->blocks.size(), 1u);
  a->computed = 5;
  b->computed = 3;
  book.begin_step();
  EXPECT_EQ(book.take({2}, 4)->computed, Tokens{3});
  EXPECT_EQ(book.take({3}, 4)->computed, Tokens{0});  // the last free block
  EXPECT_EQ(book.known(), 3u);
  book.begin_step();
  EXPECT_EQ(book.take({2}, 5)->blocks.size(), 2u);  // takes from 1, which was used longest ago
  EXPECT_EQ(book.known(), 2u);
  EXPECT_EQ(book.take({1}, 5)->computed, Tokens{0});  // begins anew, in the place of 3
  EXPECT_EQ(book.known(), 2u);
}

TEST(DraftBook, NeverTakesFromASequenceOfTheStepAndGivesNoBlockTwice) {
  DraftBook book(3, 4);
  book.begin_step();
  const std::vector<BlockId> a = book.take({1}, 8)->blocks;
  EXPECT_EQ(book.take({2}, 8), nullptr);
  const std::vector<BlockId> c = book.take({3}, 1)->blocks;
  ASSERT_EQ(c.size(), 1u);
  EXPECT_EQ(std::find(a.begin(), a.end(), c[0]), a.end());
  book.begin_step();
  EXPECT_EQ(book.take({2}, 8)->blocks.size(), 2u);
  EXPECT_EQ(book.take({4}, 13), nullptr);  // more than the pool
}

template <class C = with<presets::Vllm, set_speculation<speculation::DraftModel>>>
std::string refusal(const model::Shape* draft, Tokens longest = 0) {
  try {
    check_draft_model<C>(model::opt_13b, draft, longest);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(DraftBook, SaysWhatIsWrongWithADraftModel) {
  EXPECT_EQ(refusal(&model::opt_125m), "");
  EXPECT_EQ(refusal<presets::Vllm>(nullptr), "");
  EXPECT_NE(refusal(nullptr).find("is not given"), std::string::npos);
  EXPECT_NE(refusal<presets::Vllm>(&model::opt_125m).find("has no use for it"), std::string::npos);
  const std::string other = refusal(&model::llama_7b);
  EXPECT_NE(other.find("32000"), std::string::npos) << other;
  EXPECT_NE(other.find("50272"), std::string::npos) << other;
  model::Shape shorter = model::opt_125m;
  shorter.max_length = 512;
  EXPECT_NE(refusal(&shorter).find("takes 512 tokens"), std::string::npos);
  EXPECT_EQ(refusal(&shorter, 512), "");
}

}  // namespace
}  // namespace quire::executor
