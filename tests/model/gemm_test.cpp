#include <cmath>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

#include <quire/model/decoder.hpp>
#include <quire/weight_format/bf16.hpp>
#include <tests/common/checkpoints.hpp>
#include <tests/model/eigen_gemm.hpp>

namespace quire::model::testing {
namespace {

static_assert(GemmFor<EigenGemm, weight_format::Fp32>);
static_assert(GemmFor<PanelGemm, weight_format::Bf16>);

/// A whole model behind the seam: another library's product gives the same logits.
TEST(Gemm, AModelRunsOnAnotherProduct) {
  const auto checkpoint = quire::testing::opened(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models/opt_post_norm").string());
  ThreadPool threads(1);
  const Decoder<weight_format::Fp32> ours(checkpoint.config, checkpoint.tensors, threads);
  const Decoder<weight_format::Fp32, EigenGemm> other(checkpoint.config, checkpoint.tensors,
                                                      threads);
  const std::vector<TokenId> tokens = {5, 100, 3, 77, 20, 0, 9};
  const auto a = full_logits(ours, tokens, threads), b = full_logits(other, tokens, threads);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

}  // namespace
}  // namespace quire::model::testing
