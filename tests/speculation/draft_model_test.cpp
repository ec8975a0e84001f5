#include <quire/speculation/draft_model.hpp>

#include <gtest/gtest.h>

namespace quire::speculation_test {
namespace {

static_assert(speculation::guesses<speculation::DraftModel>);
static_assert(speculation::drafts_by_model<speculation::DraftModel>);

// What it does when it runs: tests/engine/draft_model_test.cpp.
TEST(DraftModel, LeavesItsGuessesToTheExecutor) {
  EXPECT_EQ(speculation::DraftModel::most, Tokens{5});
  EXPECT_EQ(speculation::BasicDraftModel<2>::most, Tokens{2});
}

}  // namespace
}  // namespace quire::speculation_test
