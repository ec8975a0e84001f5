#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include <quire/core/float16.hpp>

namespace quire {
namespace {

/// The nearest representable value, ties to the even one, by search over all of them.
template <class Element>
void expect_nearest(float x) {
  const Element got = from_float<Element>(x);
  const double exact = static_cast<double>(x);
  const double error = std::abs(static_cast<double>(to_float(got)) - exact);
  for (int step : {-1, 1}) {
    const Element other{static_cast<std::uint16_t>(got.bits + step)};
    const auto value = static_cast<double>(to_float(other));
    if (!std::isfinite(value) || (got.bits ^ other.bits) & 0x8000) continue;
    const double other_error = std::abs(value - exact);
    EXPECT_LE(error, other_error) << x;
    if (error == other_error) {
      EXPECT_EQ(got.bits % 2, 0) << x;
    }
  }
}

template <class Element>
void expect_round_trip_of_every_value() {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Element e{static_cast<std::uint16_t>(bits)};
    const float x = to_float(e);
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(to_float(from_float<Element>(x))));
    } else {
      EXPECT_EQ(from_float<Element>(x).bits, bits);
    }
  }
}

TEST(Float16, EveryValueSurvivesTheRoundTrip) {
  expect_round_trip_of_every_value<Bf16>();
  expect_round_trip_of_every_value<Fp16>();
}

TEST(Float16, RoundsToNearestEven) {
  for (std::uint32_t bits = 0x00000000u; bits < 0x7f000000u; bits += 0x7777u) {
    const float x = std::bit_cast<float>(bits);
    expect_nearest<Bf16>(x);
    if (x < 65504) expect_nearest<Fp16>(x);
    if (x < 65504) expect_nearest<Fp16>(-x);
  }
  EXPECT_EQ(to_bf16(1.00390625f).bits, 0x3f80);  // a tie
  EXPECT_EQ(to_bf16(1.01171875f).bits, 0x3f82);
  EXPECT_EQ(to_fp16(0x1p-25f).bits, 0);  // a tie between zero and the smallest subnormal
  EXPECT_EQ(to_fp16(0x1.8p-25f).bits, 1);
}

TEST(Float16, KnownValuesAndLimits) {
  EXPECT_EQ(to_fp16(1.0f).bits, 0x3c00);
  EXPECT_EQ(to_fp16(-2.0f).bits, 0xc000);
  EXPECT_EQ(to_fp16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(to_fp16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(to_fp16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_float(Fp16{0x0001}), 0x1p-24f);
  EXPECT_EQ(to_float(Fp16{0x3555}), 0.333251953125f);
  EXPECT_EQ(to_float(Bf16{0x4049}), 3.140625f);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(to_fp16(infinity).bits, 0x7c00);
  EXPECT_EQ(to_bf16(-infinity).bits, 0xff80);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(to_fp16(-0.0f).bits, 0x8000);
}

}  // namespace
}  // namespace quire
