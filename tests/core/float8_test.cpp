#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/float8.hpp>

namespace quire {
namespace {

/// A format by its definition, in double: sign, exponent bits, fraction bits, bias.
double by_definition(unsigned code, int exponent_bits, int fraction_bits, int bias) {
  const unsigned sign = code >> (exponent_bits + fraction_bits) & 1u;
  const auto exponent = static_cast<int>(code >> fraction_bits & ((1u << exponent_bits) - 1u));
  const double fraction = (code & ((1u << fraction_bits) - 1u)) / std::pow(2.0, fraction_bits);
  const double value = exponent == 0 ? fraction * std::pow(2.0, 1 - bias)
                                     : (1 + fraction) * std::pow(2.0, exponent - bias);
  return sign != 0 ? -value : value;
}

/// Every code, and between every two neighbours: just below the middle, the middle (to the even code)
/// and just above it, both signs.
template <class Element, class Encode>
void check_all(int exponent_bits, int fraction_bits, int bias, unsigned largest, Encode encode) {
  const unsigned sign = 1u << (exponent_bits + fraction_bits);
  for (unsigned code = 0; code <= largest; ++code) {
    const double here = by_definition(code, exponent_bits, fraction_bits, bias);
    for (const unsigned s : {0u, sign}) {
      const float value = s == 0 ? static_cast<float>(here) : -static_cast<float>(here);
      EXPECT_EQ(to_float(Element{static_cast<std::uint8_t>(code | s)}), value);
      EXPECT_EQ(encode(value).bits, code | s) << value;
      if (code == largest) continue;
      const double next = by_definition(code + 1, exponent_bits, fraction_bits, bias);
      const auto middle = static_cast<float>((here + next) / 2);
      const float m = s == 0 ? middle : -middle;
      const unsigned even = code % 2 == 0 ? code : code + 1;
      EXPECT_EQ(encode(m).bits, even | s) << m;
      EXPECT_EQ(encode(std::nextafter(m, 0.0f)).bits, code | s) << m;
      EXPECT_EQ(encode(std::nextafter(m, 2 * m)).bits, (code + 1) | s) << m;
    }
  }
  const float top = static_cast<float>(by_definition(largest, exponent_bits, fraction_bits, bias));
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float beyond : {top * 1.001f, top * 2, 1e38f, infinity}) {
    EXPECT_EQ(encode(beyond).bits, largest);
    EXPECT_EQ(encode(-beyond).bits, largest | sign);
  }
  EXPECT_EQ(encode(std::numeric_limits<float>::denorm_min()).bits, 0u);
  EXPECT_EQ(encode(-0.0f).bits, sign);
}

const float nan = std::numeric_limits<float>::quiet_NaN();

TEST(Float8, E4m3EveryCodeAndEveryRoundingBoundary) {
  check_all<E4m3>(4, 3, 7, 0x7e, to_e4m3);
  EXPECT_EQ(to_float(E4m3{0x7e}), 448.0f);
  EXPECT_TRUE(std::isnan(to_float(E4m3{0x7f})));
  EXPECT_TRUE(std::isnan(to_float(E4m3{0xff})));
  EXPECT_EQ(to_e4m3(nan).bits & 0x7fu, 0x7fu);
}

TEST(Float8, E5m2EveryCodeAndEveryRoundingBoundary) {
  check_all<E5m2>(5, 2, 15, 0x7b, to_e5m2);
  EXPECT_EQ(to_float(E5m2{0x7b}), 57344.0f);
  EXPECT_TRUE(std::isinf(to_float(E5m2{0x7c})));
  for (const unsigned code : {0x7du, 0x7eu, 0x7fu, 0xfdu, 0xfeu, 0xffu}) {
    EXPECT_TRUE(std::isnan(to_float(E5m2{static_cast<std::uint8_t>(code)})));
  }
  EXPECT_TRUE(std::isnan(to_float(to_e5m2(nan))));
}

TEST(Float8, E2m1EveryCodeAndEveryRoundingBoundary) {
  check_all<E2m1>(2, 1, 1, 7, to_e2m1);
  const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (std::uint8_t i = 0; i < 8; ++i) EXPECT_EQ(to_float(E2m1{i}), values[i]);
}

TEST(Float8, E8m0EveryCode) {
  for (unsigned code = 0; code < 255; ++code) {
    const float x = to_float(E8m0{static_cast<std::uint8_t>(code)});
    EXPECT_EQ(x, std::ldexp(1.0f, static_cast<int>(code) - 127));
    if (code == 0) continue;
    EXPECT_EQ(power_below(x, 0).bits, code);
    EXPECT_EQ(power_below(-1.99f * x, 0).bits, code);
    EXPECT_EQ(power_below(std::nextafter(x, 0.0f), 0).bits, code - 1);
  }
  EXPECT_TRUE(std::isnan(to_float(E8m0{0xff})));
  EXPECT_EQ(power_below(448, -8).bits, 127u);
  EXPECT_EQ(power_below(0x1p-120f, -8).bits, 0u);
  EXPECT_EQ(power_below(0, 0).bits, 0u);
  EXPECT_EQ(power_below(nan, 0).bits, 0xffu);
  EXPECT_EQ(power_below(std::numeric_limits<float>::infinity(), 0).bits, 0xffu);
}

}  // namespace
}  // namespace quire
