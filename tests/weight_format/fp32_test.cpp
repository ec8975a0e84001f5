#include <cmath>

#include <quire/weight_format/fp32.hpp>
#include <tests/weight_format/conformance.hpp>

namespace quire::testing {
namespace {

INSTANTIATE_TYPED_TEST_SUITE_P(Fp32, WeightFormatConformance, weight_format::Fp32);

TEST(Fp32WeightFormat, CostsItsElementAndRoundsToNearest) {
  using F = weight_format::Fp32;
  EXPECT_EQ(F::weight_bytes(128), 4.0);
  EXPECT_EQ(F::panel_bytes(64, 100), 64u * 100u * 4u);
  const auto weights = WeightFormatConformance<F>::random(64 * 32, 5);
  AlignedArray<std::byte> panel(F::panel_bytes(64, 32));
  F::pack(panel.data(), 64, 32, weights.data());
  std::vector<float> row(32);
  for (std::size_t n = 0; n < 64; ++n) {
    F::read(panel.data(), 64, 32, n, row.data());
    for (std::size_t k = 0; k < 32; ++k) {
      EXPECT_LE(std::abs(row[k] - weights[n * 32 + k]), std::abs(weights[n * 32 + k]) * 0.0f);
    }
  }
}

}  // namespace
}  // namespace quire::testing
