// What becomes of dropped tokens' slots changes no token, only how many blocks are held.
#include "tests/engine/retention_outputs.hpp"

namespace quire::engine_test {
namespace {

using retention::compacted;

template <class Policy>
void expect_same_tokens_in_fewer_blocks() {
  const Outcome left = run_retained<Keeping<compacted<Policy, retention::LeaveHoles>>>(tight);
  const Outcome closed = run_retained<Keeping<Policy>>(tight);
  EXPECT_EQ(left.texts, closed.texts);
  EXPECT_LT(closed.most_holes, left.most_holes);
  EXPECT_LE(closed.most_blocks, left.most_blocks);
}

TEST(RetentionCompaction, ChangesNoTokenAndFreesBlocks) {
  expect_same_tokens_in_fewer_blocks<retention::H2O>();
  expect_same_tokens_in_fewer_blocks<retention::Tova>();
  const auto reused =
      run_retained<Keeping<compacted<retention::H2O, retention::ReuseHoles>>>(tight);
  EXPECT_EQ(reused.texts, run_retained<Keeping<retention::H2O>>(tight).texts);
}

TEST(RetentionCompaction, MovesWholeTokensOfAQuantisedFormat) {
  using Format = kv_format::Int8PerTokenHead;
  using Closed = Keeping<retention::H2O, Format>;
  using Left = Keeping<compacted<retention::H2O, retention::LeaveHoles>, Format>;
  EXPECT_EQ(run_retained<Closed>(tight).texts, run_retained<Left>(tight).texts);
}

TEST(RetentionFormats, ReassignedPositionsKeepTheBitsWhereNothingWasDropped) {
  RetentionLimits wide = tight;
  wide.budget = 128;
  EXPECT_EQ((run_retained<Keeping<retention::StreamingLlm, kv_format::Bf16>>(wide).texts),
            (run_retained<Keeping<retention::KeepAll, kv_format::Bf16>>(wide).texts));
}

TEST(RetentionFormats, RecomputedEqualsNeverPreemptedWhereNothingWasDropped) {
  using Recomputing = Keeping<retention::H2O, kv_format::Fp32, offload::Recompute>;
  RetentionLimits wide = tight;
  wide.budget = 128;
  const Outcome recomputed = run_retained<Recomputing>(wide, 40);
  EXPECT_GT(recomputed.counters.recomputed_tokens, Tokens{0});
  EXPECT_EQ(recomputed.texts, run_retained<RetentionBase>({}).texts);
}

}  // namespace
}  // namespace quire::engine_test
