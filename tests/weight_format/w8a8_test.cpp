#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <quire/weight_format/w8a8.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

using weight_format::W8a8;

TEST(W8a8WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  EXPECT_EQ(8 * W8a8::weight_bytes(256), 8.125);
  EXPECT_LT(rounding_error<W8a8>(64, 256), 0.008);
}

/// Integers by hand: every product and sum is exact, the scales come last.
TEST(W8a8WeightFormat, ProductsAreThoseOfTheIntegers) {
  constexpr std::size_t outputs = 3, inputs = 70, rows = 4;
  Rng rng(2);
  std::vector<float> w(outputs * inputs), x(rows * inputs);
  for (float& v : w) v = static_cast<float>(rng.normal());
  for (float& v : x) v = static_cast<float>(rng.normal());
  AlignedArray<std::byte> panel(W8a8::panel_bytes(outputs, inputs));
  W8a8::pack(panel.data(), outputs, inputs, w.data());
  const std::size_t row_bytes = W8a8::row_bytes(inputs);
  AlignedArray<std::byte> packed(rows * row_bytes);
  for (std::size_t r = 0; r < rows; ++r) {
    W8a8::pack_row(&x[r * inputs], inputs, packed.data() + r * row_bytes);
  }
  std::vector<float> y(rows * 8, 1.0f);
  W8a8::add_products(panel.data(), outputs, inputs, packed.data(), rows, y.data(), 8);
  const auto codes = [](const float* v, float& scale) {
    float most = 0;
    for (std::size_t k = 0; k < inputs; ++k) most = std::max(most, std::abs(v[k]));
    scale = most / 127.0f;
    std::vector<int> q;
    for (std::size_t k = 0; k < inputs; ++k) {
      q.push_back(static_cast<int>(std::nearbyint(v[k] * (1.0f / scale))));
    }
    return q;
  };
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t n = 0; n < outputs; ++n) {
      float a = 0, b = 0;
      const auto p = codes(&x[r * inputs], a), q = codes(&w[n * inputs], b);
      int sum = 0;
      for (std::size_t k = 0; k < inputs; ++k) sum += p[k] * q[k];
      EXPECT_EQ(y[r * 8 + n], 1.0f + static_cast<float>(sum) * (b * a));
    }
    EXPECT_EQ(y[r * 8 + outputs], 1.0f);  // nothing is written behind the outputs
  }
  x[5] = std::numeric_limits<float>::quiet_NaN();
  W8a8::pack_row(x.data(), inputs, packed.data());
  W8a8::add_products(panel.data(), outputs, inputs, packed.data(), 1, y.data(), 8);
  EXPECT_TRUE(std::isnan(y[0]));
}

}  // namespace
}  // namespace quire::testing
