#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <experiments/kernel_roofline/ceilings.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/rng.hpp>

namespace quire::experiment {

inline constexpr double cold_bytes =
    512.0 * (1 << 20);  // in turns over so much, nothing is in a cache

[[nodiscard]] inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Limits of one thread, measured when the first kernel asks, best of some tries.
struct Ceilings {
  double read = 0, multiply_add = 0, byte_products = 0, bf16_products = 0;
};
[[nodiscard]] inline const Ceilings& ceilings() {
  static const Ceilings found = [] {
    huge_vector<float> values(std::size_t{128} << 20, 1.0f);
    Ceilings c;
    for (int i = 0; i < 5; ++i) {
      c.read = std::max(c.read, read_bandwidth({values.data(), values.size()}));
      c.multiply_add = std::max(c.multiply_add, multiply_add_rate());
      c.byte_products = std::max(c.byte_products, byte_product_rate());
      c.bf16_products = std::max(c.bf16_products, pair_product_rate());
    }
    return c;
  }();
  return found;
}

[[nodiscard]] inline std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> out(count);
  for (float& x : out) x = static_cast<float>(rng.uniform() - 0.5);
  return out;
}

}  // namespace quire::experiment
