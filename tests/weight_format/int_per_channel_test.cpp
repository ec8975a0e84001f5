#include <cmath>
#include <limits>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/int_per_channel.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

using weight_format::Int4PerChannel;
using weight_format::Int8PerChannel;

TEST(IntPerChannelWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  EXPECT_EQ(Int4PerChannel::name, "int4_per_channel");
  EXPECT_EQ(8 * Int4PerChannel::weight_bytes(256), 4.125);
  EXPECT_EQ(8 * Int8PerChannel::weight_bytes(256), 8.125);
  EXPECT_LT(rounding_error<Int4PerChannel>(64, 256), 0.14);
  EXPECT_LT(rounding_error<Int8PerChannel>(64, 256), 0.008);
}

template <class F>
void codes_are_whole_steps_of_the_largest() {
  constexpr std::size_t outputs = 5, inputs = 48;  // an odd one shares its byte with nobody
  Rng rng(4);
  std::vector<float> w(outputs * inputs), row(inputs);
  for (float& x : w) x = static_cast<float>(rng.normal());
  for (std::size_t k = 0; k < inputs; ++k) w[2 * inputs + k] = 0;
  AlignedArray<std::byte> panel(F::panel_bytes(outputs, inputs));
  F::pack(panel.data(), outputs, inputs, w.data());
  for (std::size_t n = 0; n < outputs; ++n) {
    const float* x = &w[n * inputs];
    float most = 0;
    for (std::size_t k = 0; k < inputs; ++k) most = std::max(most, std::abs(x[k]));
    const float scale = most / static_cast<float>(F::most_code);
    F::read(panel.data(), outputs, inputs, n, row.data());
    for (std::size_t k = 0; k < inputs; ++k) {
      const float q = most > 0 ? std::nearbyint(x[k] * (1.0f / scale)) : 0.0f;
      ASSERT_EQ(row[k], q * scale) << n << " " << k;
    }
  }
}

using weight_format::Int4ZeroPointPerChannel;
using weight_format::Int8ZeroPointPerChannel;

TEST(IntPerChannelWeightFormat, ZeroPointsFollowRowsThatLieToOneSide) {
  EXPECT_EQ(Int4ZeroPointPerChannel::name, "int4_zero_point_per_channel");
  EXPECT_EQ(8 * Int4ZeroPointPerChannel::weight_bytes(256), 4.15625);
  constexpr std::size_t outputs = 3, inputs = 64;
  Rng rng(9);
  std::vector<float> w(outputs * inputs), row(inputs);
  for (std::size_t i = 0; i < w.size(); ++i) {  // above zero, below zero, about zero
    const auto x = static_cast<float>(rng.uniform());
    w[i] = i < inputs ? x : i < 2 * inputs ? -3 * x : x - 0.25f;
  }
  const auto error_of = [&]<class F>() {
    AlignedArray<std::byte> panel(F::panel_bytes(outputs, inputs));
    F::pack(panel.data(), outputs, inputs, w.data());
    float most = 0;
    for (std::size_t n = 0; n < outputs; ++n) {
      F::read(panel.data(), outputs, inputs, n, row.data());
      for (std::size_t k = 0; k < inputs; ++k) {
        most = std::max(most, std::abs(row[k] - w[n * inputs + k]) / (n == 1 ? 3.0f : 1.0f));
      }
    }
    return most;
  };
  EXPECT_LT(error_of.operator()<Int4ZeroPointPerChannel>(), 0.5f / 15 + 1e-4f);
  EXPECT_GT(error_of.operator()<Int4PerChannel>(), 0.5f / 8);
  EXPECT_LT(error_of.operator()<Int8ZeroPointPerChannel>(), 0.5f / 255 + 1e-5f);
}

/// Checkpoints with one group a row: codes, scales and zero points are taken as they are.
TEST(IntPerChannelWeightFormat, HoldsIntegersOfOneGroupARow) {
  constexpr std::size_t outputs = 6, inputs = 48;
  Rng rng(3);
  std::vector<float> w(outputs * inputs), row(inputs);
  for (float& x : w) x = static_cast<float>(rng.normal()) + 0.3f;
  const auto check = [&]<class F>(unsigned bits) {
    const weight_format::Grouped m =
        weight_format::round_to_nearest(w.data(), outputs, inputs, bits, inputs, false);
    const weight_format::WeightCodec& codec = weight_format::codec_of<F>();
    ASSERT_TRUE(weight_format::takes_codes(codec, &m));
    AlignedArray<std::byte> panel(F::panel_bytes(4, inputs));
    for (std::size_t first = 0; first < outputs; first += 4) {
      codec.pack_codes(panel.data(), 4, m, first);
      for (std::size_t n = 0; n < 4; ++n) {
        codec.read(panel.data(), 4, inputs, n, row.data());
        for (std::size_t k = 0; k < inputs; ++k) {
          EXPECT_EQ(row[k], first + n < outputs ? m.at(first + n, k) : 0.0f);
        }
      }
    }
    const weight_format::Grouped two =
        weight_format::round_to_nearest(w.data(), outputs, inputs, bits, inputs / 2, false);
    EXPECT_THROW((void)weight_format::takes_codes(codec, &two), Error);
  };
  check.operator()<Int4ZeroPointPerChannel>(4);
  check.operator()<Int8ZeroPointPerChannel>(8);
}

TEST(IntPerChannelWeightFormat, CodesAreWholeStepsOfTheLargest) {
  codes_are_whole_steps_of_the_largest<Int4PerChannel>();
  codes_are_whole_steps_of_the_largest<Int8PerChannel>();
}

}  // namespace
}  // namespace quire::testing
