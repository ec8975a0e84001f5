#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <quire/core/float16.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

using weight_format::Bf16W16a16;

TEST(Bf16W16a16WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  EXPECT_EQ(8 * Bf16W16a16::weight_bytes(256), 16);
  EXPECT_LT(rounding_error<Bf16W16a16>(64, 256), 0.002);
}

/// Both factors rounded to bf16, summed in fp32, for every number of rows that tiles may have to share;
/// nothing is written behind the outputs, whose number no tile divides.
TEST(Bf16W16a16WeightFormat, ProductsAreThoseOfRoundedFactors) {
  constexpr std::size_t outputs = 83, inputs = 600, most = 14, stride = 96;
  Rng rng(2);
  std::vector<float> w(outputs * inputs), x(most * inputs);
  for (float& v : w) v = static_cast<float>(rng.normal());
  for (float& v : x) v = static_cast<float>(rng.normal());
  AlignedArray<std::byte> panel(Bf16W16a16::panel_bytes(outputs, inputs));
  Bf16W16a16::pack(panel.data(), outputs, inputs, w.data());
  const std::size_t row_bytes = Bf16W16a16::row_bytes(inputs);
  AlignedArray<std::byte> packed(most * row_bytes);
  std::vector<float> each(most * stride, 1.0f);
  for (std::size_t r = 0; r < most; ++r) {
    Bf16W16a16::pack_row(&x[r * inputs], inputs, packed.data() + r * row_bytes);
    Bf16W16a16::add_products(panel.data(), outputs, inputs, packed.data() + r * row_bytes, 1,
                             &each[r * stride], stride);
    for (std::size_t n = 0; n < outputs; ++n) {
      double want = 1;
      for (std::size_t k = 0; k < inputs; ++k) {
        want += static_cast<double>(to_float(to_bf16(x[r * inputs + k]))) *
                static_cast<double>(to_float(to_bf16(w[n * inputs + k])));
      }
      EXPECT_NEAR(each[r * stride + n], want, 1e-4);
    }
    EXPECT_EQ(each[r * stride + outputs], 1.0f);
  }
  for (std::size_t rows = 1; rows <= most; ++rows) {
    std::vector<float> y(most * stride, 1.0f), want(y);
    std::copy_n(each.begin(), rows * stride, want.begin());
    Bf16W16a16::add_products(panel.data(), outputs, inputs, packed.data(), rows, y.data(), stride);
    EXPECT_EQ(y, want) << rows << " rows";
  }
  x[5] = std::numeric_limits<float>::quiet_NaN();
  Bf16W16a16::pack_row(x.data(), inputs, packed.data());
  Bf16W16a16::add_products(panel.data(), outputs, inputs, packed.data(), 1, each.data(), stride);
  EXPECT_TRUE(std::isnan(each[0]));
}

/// Vectors round as single numbers do: ties, carries into the exponent, NaN, infinity.
TEST(Bf16W16a16WeightFormat, RowsAreRoundedToNearestEven) {
  std::vector<float> x;
  for (const std::uint32_t low : {0x0000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
    for (const std::uint32_t high :
         {0x0000u, 0x3f80u, 0x3f81u, 0x3fffu, 0x7f7fu, 0x7f80u, 0xff80u}) {
      x.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  std::vector<quire::Bf16> got(x.size());
  simd::to_bf16(x.data(), x.size(), got.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(got[i], to_bf16(x[i])) << i;
}

}  // namespace
}  // namespace quire::testing
