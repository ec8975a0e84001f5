#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/model/ops.hpp>

namespace quire::model {
namespace {

const std::size_t sizes[] = {1, 3, 16, 17, 48, 100, 511};

std::vector<float> random(std::size_t n, std::uint64_t seed, double mean = 0.5) {
  Rng rng(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(mean + rng.normal());
  return v;
}
double wide(float x) { return static_cast<double>(x); }

TEST(Ops, NormsEqualTheirDefinition) {
  for (const std::size_t n : sizes) {
    const auto x = random(n, 1, 3), scale = random(n, 2), bias = random(n, 3);
    double sum = 0, squares = 0;
    for (float v : x) sum += wide(v), squares += wide(v) * wide(v);
    const double mean = sum / static_cast<double>(n);
    double variance = 0;
    for (float v : x) variance += (wide(v) - mean) * (wide(v) - mean) / static_cast<double>(n);
    std::vector<float> rms(n), layer(n);
    rms_norm(x.data(), scale.data(), 1e-5f, rms.data(), n);
    layer_norm(x.data(), scale.data(), bias.data(), 1e-5f, layer.data(), n);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(rms[i],
                  wide(x[i]) / std::sqrt(squares / static_cast<double>(n) + 1e-5) * wide(scale[i]),
                  2e-6);
      EXPECT_NEAR(layer[i],
                  (wide(x[i]) - mean) / std::sqrt(variance + 1e-5) * wide(scale[i]) + wide(bias[i]),
                  2e-5);
    }
    auto in_place = x;
    rms_norm(in_place.data(), scale.data(), 1e-5f, in_place.data(), n);
    EXPECT_EQ(in_place, rms);
  }
}

TEST(Ops, ActivationsEqualTheirDefinition) {
  for (const std::size_t n : sizes) {
    auto x = random(n, 4), up = random(n, 5);
    for (float& v : x) v *= 4;
    std::vector<float> out(n);
    auto expect = [&](const auto& f, auto&& exact) {
      activate(x.data(), out.data(), n, f);
      for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(out[i], exact(wide(x[i])), 2e-6);
      activate_gated(x.data(), up.data(), out.data(), n, f);
      for (std::size_t i = 0; i < n; ++i) {
        EXPECT_NEAR(out[i], exact(wide(x[i])) * wide(up[i]), 1e-5);
      }
    };
    expect(Silu{}, [](double v) { return v / (1 + std::exp(-v)); });
    expect(Relu{}, [](double v) { return v > 0 ? v : 0; });
    expect(GeluErf{}, [](double v) { return v / 2 * (1 + std::erf(v / std::sqrt(2.0))); });
    expect(GeluTanh{}, [](double v) {
      return v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    });
  }
}

TEST(Ops, SumsAndSoftmax) {
  for (const std::size_t n : sizes) {
    auto x = random(n, 6);
    const auto before = x, y = random(n, 7);
    add(x.data(), y.data(), n);
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(x[i], before[i] + y[i]);
    add_scaled(x.data(), y.data(), -1.0f, n);
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(x[i], before[i], 1e-6);
    softmax(x);
    EXPECT_NEAR(std::accumulate(x.begin(), x.end(), 0.0), 1, 1e-6);
    for (std::size_t i = 1; i < n; ++i) {
      EXPECT_NEAR(x[i] / x[0], std::exp(before[i] - before[0]), 1e-3 * x[i] / x[0]);
    }
  }
}

}  // namespace
}  // namespace quire::model
