#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <quire/weight_format/llm_int8.hpp>
#include <quire/weight_format/w8a8.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

using weight_format::LlmInt8;
using weight_format::W8a8;

TEST(LlmInt8WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  EXPECT_EQ(8 * LlmInt8::weight_bytes(256), 8.125);
  EXPECT_LT(rounding_error<LlmInt8>(64, 256), 0.008);
  EXPECT_EQ(weight_format::LlmInt8Above<25>::name, "llm_int8_above_25_tenths");
}

constexpr std::size_t outputs = 16, inputs = 96;

template <class F>
std::vector<float> product(const std::vector<float>& w, const std::vector<float>& x) {
  AlignedArray<std::byte> panel(F::panel_bytes(outputs, inputs)), row(F::row_bytes(inputs));
  F::pack(panel.data(), outputs, inputs, w.data());
  F::pack_row(x.data(), inputs, row.data());
  std::vector<float> y(outputs);
  F::add_products(panel.data(), outputs, inputs, row.data(), 1, y.data(), outputs);
  return y;
}

TEST(LlmInt8WeightFormat, OutliersDoNotSpoilTheOthers) {
  Rng rng(3);
  std::vector<float> w(outputs * inputs), x(inputs);
  for (float& v : w) v = static_cast<float>(rng.normal());
  for (float& v : x) v = std::min(3.0f, static_cast<float>(rng.normal()));
  EXPECT_EQ(product<LlmInt8>(w, x), product<W8a8>(w, x));  // none yet: the same integers
  x[7] = 90;
  x[50] = -6;
  std::vector<float> row(inputs);
  AlignedArray<std::byte> panel(W8a8::panel_bytes(outputs, inputs));
  W8a8::pack(panel.data(), outputs, inputs, w.data());
  double whole = 0, split = 0;
  const auto a = product<W8a8>(w, x), b = product<LlmInt8>(w, x);
  for (std::size_t n = 0; n < outputs; ++n) {
    W8a8::read(panel.data(), outputs, inputs, n, row.data());
    double sum = 0;
    for (std::size_t k = 0; k < inputs; ++k) {
      sum += static_cast<double>(row[k]) * static_cast<double>(x[k]);
    }
    whole += std::abs(static_cast<double>(a[n]) - sum);
    split += std::abs(static_cast<double>(b[n]) - sum);
  }
  EXPECT_LT(split, 0.1 * whole);
  x[9] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(product<LlmInt8>(w, x)[0]));
}

}  // namespace
}  // namespace quire::testing
