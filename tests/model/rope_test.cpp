#include <cmath>
#include <complex>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/model/rope.hpp>

namespace quire::model {
namespace {

TEST(Rope, TurnsPairsByTheirAngle) {
  constexpr std::size_t dim = 16;
  const Rope rope(dim, 10000, std::nullopt);
  Rng rng(1);
  for (std::int64_t position : {0, 1, 77, 4000}) {
    std::vector<float> x(dim), angles(dim);
    for (float& v : x) v = static_cast<float>(rng.normal());
    const auto before = x;
    rope.angles(position, angles.data());
    rope.rotate(angles.data(), x.data());
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(i) / dim);
      const std::complex<double> want =
          std::complex<double>(before[i], before[i + dim / 2]) * std::polar(1.0, angle);
      EXPECT_NEAR(x[i], want.real(), 5e-4);
      EXPECT_NEAR(x[i + dim / 2], want.imag(), 5e-4);
    }
    if (position == 0) {
      EXPECT_EQ(x, before);
    }
  }
}

/// Products of rotated queries and keys depend on the distance alone.
TEST(Rope, ProductsDependOnTheDistance) {
  constexpr std::size_t dim = 32;
  const Rope rope(dim, 500000, checkpoint::Llama3RopeScaling{});
  Rng rng(2);
  std::vector<float> q(dim), k(dim), angles(dim);
  for (float& v : q) v = static_cast<float>(rng.normal());
  for (float& v : k) v = static_cast<float>(rng.normal());
  auto product = [&](std::int64_t i, std::int64_t j) {
    auto a = q, b = k;
    rope.angles(i, angles.data());
    rope.rotate(angles.data(), a.data());
    rope.angles(j, angles.data());
    rope.rotate(angles.data(), b.data());
    double sum = 0;
    for (std::size_t d = 0; d < dim; ++d) sum += static_cast<double>(a[d] * b[d]);
    return sum;
  };
  EXPECT_NEAR(product(10, 3), product(107, 100), 1e-4);
  EXPECT_NEAR(product(10, 3), product(1007, 1000), 1e-3);
  EXPECT_GT(std::abs(product(10, 3) - product(10, 4)), 1e-3);
}

/// Llama 3.1's numbers: short waves stay, long ones are eight times longer, between is between.
TEST(Rope, Llama3ScalingStretchesLongWaves) {
  constexpr std::size_t dim = 128;
  const Rope plain(dim, 500000, std::nullopt);
  const Rope scaled(dim, 500000, checkpoint::Llama3RopeScaling{8, 1, 4, 8192});
  std::vector<float> a(dim), b(dim);
  plain.angles(1, a.data());
  scaled.angles(1, b.data());
  for (std::size_t i = 0; i < dim / 2; ++i) {
    const double fast = std::asin(static_cast<double>(a[dim / 2 + i]));
    const double slow = std::asin(static_cast<double>(b[dim / 2 + i]));
    const double wave = 2 * M_PI / std::pow(500000, -2.0 * static_cast<double>(i) / dim);
    if (wave < 2048) {
      EXPECT_EQ(a[i], b[i]);
    } else if (wave > 8192) {
      EXPECT_NEAR(fast / slow, 8, 1e-4);
    } else {
      EXPECT_GE(fast / slow, 1 - 1e-6);
      EXPECT_LE(fast / slow, 8 + 1e-6);
    }
  }
}

}  // namespace
}  // namespace quire::model
