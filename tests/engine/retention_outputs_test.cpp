// Token retention through the whole engine, on real tokens.
#include "tests/engine/retention_outputs.hpp"

namespace quire::engine_test {
namespace {

const Outcome& keep_all() {
  static const Outcome outcome = run_retained<RetentionBase>({});
  return outcome;
}
RetentionLimits wide() {
  RetentionLimits limits = tight;
  limits.budget = 128;
  return limits;
}

template <class Policy>
class RetentionOutputs : public ::testing::Test {};
using RetainingPolicies =
    ::testing::Types<retention::SlidingWindow, retention::StreamingLlm, retention::H2O,
                     retention::Tova, retention::Scissorhands, retention::SnapKv,
                     retention::PyramidKv, retention::Quest>;
TYPED_TEST_SUITE(RetentionOutputs, RetainingPolicies);

TYPED_TEST(RetentionOutputs, ABudgetForTheContextEqualsKeepAll) {
  EXPECT_EQ(run_retained<Keeping<TypeParam>>(wide()).texts, keep_all().texts);
  const Outcome swapped = run_retained<Keeping<TypeParam>>(wide(), 40);
  EXPECT_GT(swapped.counters.swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(swapped.texts, keep_all().texts);
}

TYPED_TEST(RetentionOutputs, TokensDoNotDependOnThreadsBatchOrSwaps) {
  const Outcome one = run_retained<Keeping<TypeParam>>(tight);
  EXPECT_NE(one.texts, keep_all().texts);
  const Outcome threads = run_retained<Keeping<TypeParam>>(tight, 400, 3);
  EXPECT_EQ(threads.texts, one.texts);
  EXPECT_EQ(threads.decisions, one.decisions);
  int swapped_often = 0;
  for (const std::int64_t blocks : {14, 16, 18, 20, 24, 30, 36}) {
    const Outcome swapped = run_retained<Keeping<TypeParam>>(tight, blocks);
    if (swapped.counters.rejected > 0) continue;  // beams that do not fit into so small a pool
    EXPECT_EQ(swapped.texts, one.texts) << blocks;
    swapped_often += swapped.counters.preemptions > 0;
  }
  EXPECT_GT(swapped_often, 0);
}

TEST(RetentionMemory, ABudgetBoundsWhatASequenceHolds) {
  std::vector<Request> one(1);
  one[0].prompt.assign(60, 5);
  one[0].sampling.max_tokens = 40;
  const Outcome all = run_retained<RetentionBase>({}, 400, 1, one);
  EXPECT_EQ(all.most_blocks, 13);  // 60 + 39 tokens in blocks of 8
  const Outcome window = run_retained<Keeping<retention::SlidingWindow>>(tight, 400, 1, one);
  EXPECT_EQ(window.texts.size(), 1u);
  EXPECT_LE(window.most_blocks, 3);  // 16 tokens, which need not begin with a block
  // the prompt is there whole for one step; 8 blocks are all it ever needs
  EXPECT_EQ(run_retained<Keeping<retention::H2O>>(tight, 8, 1, one).texts,
            run_retained<Keeping<retention::H2O>>(tight, 400, 1, one).texts);
}

}  // namespace
}  // namespace quire::engine_test
