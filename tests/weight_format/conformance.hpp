#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::testing {

/// What every weight format promises.
/// - A panel is a whole number of 64-byte lines, and nothing is written outside it.
/// - unpack() and read() give the same numbers, near what was packed; zero is exact.
/// - The product with a batch uses exactly those numbers, and a row's result does not depend on the
///   other rows or on the number of threads.
template <class Format>
class WeightFormatConformance : public ::testing::Test {
 public:
  static std::vector<float> random(std::size_t n, std::uint64_t seed) {
    Rng rng(seed);
    std::vector<float> v(n);
    for (float& x : v) x = static_cast<float>(rng.normal());
    return v;
  }
};
TYPED_TEST_SUITE_P(WeightFormatConformance);

TYPED_TEST_P(WeightFormatConformance, UnpackAndReadAgree) {
  for (std::size_t outputs : std::initializer_list<std::size_t>{1, 16, 64}) {
    for (std::size_t inputs : std::initializer_list<std::size_t>{32, 64, 160, 300}) {
      const std::size_t bytes = TypeParam::panel_bytes(outputs, inputs);
      EXPECT_EQ(bytes % 64, 0u);
      AlignedArray<std::byte> memory(bytes + 128);
      std::memset(memory.data(), 0x5a, memory.size());
      std::byte* panel = memory.data() + 64;
      auto weights = this->random(outputs * inputs, outputs + inputs);
      weights[inputs - 1] = 0;
      TypeParam::pack(panel, outputs, inputs, weights.data());
      std::vector<float> all(outputs * inputs), row(inputs);
      for (std::size_t k = 0; k < inputs; k += 16) {
        TypeParam::unpack(panel, outputs, inputs, k, std::min<std::size_t>(16, inputs - k),
                          all.data() + k * outputs);
      }
      double error = 0, size = 0;
      for (std::size_t n = 0; n < outputs; ++n) {
        TypeParam::read(panel, outputs, inputs, n, row.data());
        for (std::size_t k = 0; k < inputs; ++k) {
          EXPECT_EQ(row[k], all[k * outputs + n]);
          const auto want = static_cast<double>(weights[n * inputs + k]);
          error += std::pow(static_cast<double>(row[k]) - want, 2);
          size += want * want;
        }
      }
      // formats that keep only some weights say how many
      double allowed = 0.15;
      if constexpr (requires { TypeParam::kept; }) allowed = 0.45;
      EXPECT_LT(std::sqrt(error / size), allowed) << TypeParam::name;
      // formats with a least value of their own say so: zero is then within a step
      if constexpr (!requires { TypeParam::has_offsets; }) {
        EXPECT_EQ(all[(inputs - 1) * outputs], 0.0f);
      }
      for (std::size_t i = 0; i < 64; ++i) {
        EXPECT_EQ(memory[i], std::byte{0x5a});
        EXPECT_EQ(memory[64 + bytes + i], std::byte{0x5a});
      }
    }
  }
}

TYPED_TEST_P(WeightFormatConformance, ProductUsesTheStoredNumbers) {
  constexpr std::size_t outputs = 150, inputs = 300, rows = 20;
  const auto weights = this->random(outputs * inputs, 1);
  const auto x = this->random(rows * inputs, 2);
  model::MatrixSource source{outputs, inputs,
                             [&](std::size_t first, std::size_t count, float* to) {
                               std::copy_n(&weights[first * inputs], count * inputs, to);
                             },
                             this->random(outputs, 3)};
  ThreadPool threads(3);
  const model::PanelMatrix<TypeParam> matrix(source, threads);
  const std::size_t stride = matrix.padded_outputs();
  std::vector<float> y(rows * stride), alone(stride), w(inputs);
  matrix.multiply(x.data(), inputs, rows, y.data(), stride, threads);
  for (std::size_t n = 0; n < outputs; ++n) {
    matrix.read_row(n, w.data());
    for (std::size_t r = 0; r < rows; ++r) {
      double want = static_cast<double>(source.bias[n]);
      for (std::size_t k = 0; k < inputs; ++k) {
        want += static_cast<double>(x[r * inputs + k]) * static_cast<double>(w[k]);
      }
      // formats that round the inputs as well err by their steps, summed over 300 inputs: five times the
      // 0.45 that 4 significant bits give, seven times the 0.14 of 127 steps, seven times the 0.014 of 8
      // significant bits
      const bool floats = TypeParam::name == std::string_view("fp8_w8a8");
      const bool halves = TypeParam::name == std::string_view("bf16_w16a16");
      constexpr bool in_bytes = TypeParam::name.ends_with("_a8");
      constexpr bool rounds =
          in_bytes || (ProductWeightFormat<TypeParam> && !requires { typename TypeParam::Block; });
      const double bound = !rounds ? 1e-4 : halves ? 0.1 : floats ? 2.25 : 1.0;
      EXPECT_NEAR(y[r * stride + n], want, bound) << TypeParam::name;
    }
  }
  ThreadPool one(1);
  for (std::size_t r = 0; r < rows; ++r) {
    matrix.multiply(x.data() + r * inputs, inputs, 1, alone.data(), stride, one);
    EXPECT_EQ(std::memcmp(alone.data(), &y[r * stride], outputs * sizeof(float)), 0) << "row " << r;
  }
  for (std::size_t count = 2; count < 10; ++count) {  // few rows may take ways of their own
    std::vector<float> few(count * stride);
    matrix.multiply(x.data(), inputs, count, few.data(), stride, one);
    for (std::size_t r = 0; r < count; ++r) {
      EXPECT_EQ(std::memcmp(&few[r * stride], &y[r * stride], outputs * sizeof(float)), 0)
          << "row " << r << " of " << count;
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(WeightFormatConformance, UnpackAndReadAgree,
                            ProductUsesTheStoredNumbers);

}  // namespace quire::testing
