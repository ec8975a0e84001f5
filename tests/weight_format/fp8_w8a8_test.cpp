#include <cmath>
#include <limits>
#include <vector>

#include <quire/weight_format/fp8_w8a8.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

using weight_format::Fp8W8a8;

TEST(Fp8W8a8WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  EXPECT_EQ(8 * Fp8W8a8::weight_bytes(256), 8.125);
  EXPECT_LT(rounding_error<Fp8W8a8>(64, 256), 0.03);
}

/// Both sides on their grids, sums in floats, scales last.
TEST(Fp8W8a8WeightFormat, ProductsAreThoseOfTheRoundedNumbers) {
  constexpr std::size_t outputs = 3, inputs = 70, rows = 4;
  Rng rng(2);
  std::vector<float> w(outputs * inputs), x(rows * inputs);
  for (float& v : w) v = static_cast<float>(rng.normal());
  for (float& v : x) v = static_cast<float>(rng.normal());
  AlignedArray<std::byte> panel(Fp8W8a8::panel_bytes(outputs, inputs));
  Fp8W8a8::pack(panel.data(), outputs, inputs, w.data());
  const std::size_t row_bytes = Fp8W8a8::row_bytes(inputs);
  AlignedArray<std::byte> packed(rows * row_bytes);
  for (std::size_t r = 0; r < rows; ++r) {
    Fp8W8a8::pack_row(&x[r * inputs], inputs, packed.data() + r * row_bytes);
  }
  std::vector<float> y(rows * 8, 1.0f);
  Fp8W8a8::add_products(panel.data(), outputs, inputs, packed.data(), rows, y.data(), 8);
  const auto rounded = [](const float* v, std::size_t k) {
    float most = 0;
    for (std::size_t i = 0; i < inputs; ++i) most = std::max(most, std::abs(v[i]));
    const float scale = most / 448.0f;
    return static_cast<double>(to_float(to_e4m3(v[k] * (1.0f / scale)))) *
           static_cast<double>(scale);
  };
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t n = 0; n < outputs; ++n) {
      double sum = 1;
      for (std::size_t k = 0; k < inputs; ++k) {
        sum += rounded(&x[r * inputs], k) * rounded(&w[n * inputs], k);
      }
      EXPECT_NEAR(y[r * 8 + n], sum, 1e-4);
    }
    EXPECT_EQ(y[r * 8 + outputs], 1.0f);  // nothing is written behind the outputs
  }
  x[5] = std::numeric_limits<float>::quiet_NaN();
  Fp8W8a8::pack_row(x.data(), inputs, packed.data());
  Fp8W8a8::add_products(panel.data(), outputs, inputs, packed.data(), 1, y.data(), 8);
  EXPECT_TRUE(std::isnan(y[0]));
}

}  // namespace
}  // namespace quire::testing
