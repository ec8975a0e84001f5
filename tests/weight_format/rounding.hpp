#pragma once

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>

namespace quire::testing {

/// Packs normal weights and reads them back both ways; tells the error over the size.
template <class F>
[[nodiscard]] double rounding_error(std::size_t outputs, std::size_t inputs) {
  Rng rng(5);
  std::vector<float> weights(outputs * inputs), row(inputs), part(16 * outputs);
  for (float& x : weights) x = static_cast<float>(rng.normal());
  AlignedArray<std::byte> panel(F::panel_bytes(outputs, inputs));
  EXPECT_NEAR(static_cast<double>(F::panel_bytes(outputs, inputs)),
              F::weight_bytes(inputs) * static_cast<double>(outputs * inputs), 64);
  F::pack(panel.data(), outputs, inputs, weights.data());
  double error = 0, square = 0;
  for (std::size_t n = 0; n < outputs; ++n) {
    F::read(panel.data(), outputs, inputs, n, row.data());
    for (std::size_t k = 0; k < inputs; ++k) {
      const auto want = static_cast<double>(weights[n * inputs + k]);
      error += std::pow(static_cast<double>(row[k]) - want, 2);
      square += want * want;
    }
    F::unpack(panel.data(), outputs, inputs, 48, 16, part.data());
    for (std::size_t k = 0; k < 16; ++k) EXPECT_EQ(part[k * outputs + n], row[48 + k]);
  }
  return std::sqrt(error / square);
}

}  // namespace quire::testing
