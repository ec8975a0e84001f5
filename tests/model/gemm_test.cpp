#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/matrix.hpp>
#include <quire/model/onednn.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <quire/weight_format/codec.hpp>
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

#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2
/// oneDNN reads our panels: several parts of outputs and chunks of rows, inputs that fill no whole block.
TEST(Gemm, OneDnnMultipliesOurPanels) {
  if (simd::lanes != 16) GTEST_SKIP() << "panels of this processor are not oneDNN's";
  constexpr std::size_t outputs = 64 * 9 + 5, inputs = 600, rows = 300;
  Rng rng(1);
  std::vector<float> w(outputs * inputs), x(rows * inputs), bias(outputs);
  for (auto* values : {&w, &x, &bias}) {
    for (float& v : *values) v = static_cast<float>(rng.normal());
  }
  MatrixSource source{outputs, inputs,
                      [&](std::size_t first, std::size_t count, float* to) {
                        std::copy_n(&w[first * inputs], count * inputs, to);
                      },
                      bias};
  ThreadPool threads(2);
  const weight_format::WeightCodec library = onednn::codec(17);
  source.codec = &weight_format::codec_of<weight_format::Bf16W16a16>();
  const PanelMatrix<weight_format::Packed> ours(source, threads);
  source.codec = &library;
  const PanelMatrix<weight_format::Packed> other(source, threads);
  const std::size_t stride = ours.padded_outputs();
  for (const std::size_t count : {std::size_t{16}, std::size_t{17}, rows}) {
    std::vector<float> a(count * stride), b(a.size());
    ours.multiply(x.data(), inputs, count, a.data(), stride, threads);
    other.multiply(x.data(), inputs, count, b.data(), stride, threads);
    EXPECT_EQ(other.by_library(count), count > 16);
    if (count == 16) {
      EXPECT_EQ(a, b);
    }
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 5e-4) << i;
  }
}
#endif

}  // namespace
}  // namespace quire::model::testing
