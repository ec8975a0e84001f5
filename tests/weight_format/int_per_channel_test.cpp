#include <cmath>
#include <limits>
#include <vector>

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

TEST(IntPerChannelWeightFormat, CodesAreWholeStepsOfTheLargest) {
  codes_are_whole_steps_of_the_largest<Int4PerChannel>();
  codes_are_whole_steps_of_the_largest<Int8PerChannel>();
}

}  // namespace
}  // namespace quire::testing
