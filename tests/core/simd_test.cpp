#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/core/simd.hpp>

namespace quire::simd {
namespace {

template <class F>
float lane0(F&& f, float x) {
  return hn::GetLane(f(set(x)));
}

template <class F, class G>
double largest_relative_error(F&& f, G&& exact, float low, float high) {
  double error = 0;
  for (int i = 0; i <= 20000; ++i) {
    const float x = low + (high - low) * static_cast<float>(i) / 20000;
    const double want = exact(static_cast<double>(x));
    error = std::max(error, std::abs(static_cast<double>(lane0(f, x)) - want) / std::abs(want));
  }
  return error;
}

TEST(Simd, ExponentialsAreAccurate) {
  auto f2 = [](Vec x) { return exp2(x); };
  auto fe = [](Vec x) { return exp(x); };
  EXPECT_LT(largest_relative_error(
                f2, [](double x) { return std::exp2(x); }, -125.9f, 127.99f),
            2e-7);
  EXPECT_LT(largest_relative_error(
                fe, [](double x) { return std::exp(x); }, -87, 88.7f),
            3e-7);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(lane0(f2, 0), 1);
  EXPECT_EQ(lane0(f2, -infinity), 0);
  EXPECT_EQ(lane0(f2, -200), 0);
  EXPECT_EQ(lane0(f2, 300), infinity);
  EXPECT_EQ(lane0(f2, 5), 32);
  EXPECT_EQ(lane0(fe, -infinity), 0);
  EXPECT_EQ(lane0(fe, infinity), infinity);
  EXPECT_EQ(lane0(fe, 0), 1);
  EXPECT_TRUE(std::isnan(lane0(f2, std::nanf(""))));
  EXPECT_TRUE(std::isnan(lane0(fe, std::nanf(""))));
}

TEST(Simd, SigmoidAndTanhReachTheirLimits) {
  auto sigmoid_of = [](Vec x) { return sigmoid(x); };
  auto tanh_of = [](Vec x) { return tanh(x); };
  for (float x = -30; x <= 30; x += 0.37f) {
    const auto wide = static_cast<double>(x);
    EXPECT_NEAR(lane0(sigmoid_of, x), 1 / (1 + std::exp(-wide)), 2e-7);
    EXPECT_NEAR(lane0(tanh_of, x), std::tanh(wide), 3e-7);
  }
  EXPECT_EQ(lane0(sigmoid_of, -1000), 0);
  EXPECT_EQ(lane0(sigmoid_of, 1000), 1);
  EXPECT_EQ(lane0(tanh_of, -1000), -1);
  EXPECT_EQ(lane0(tanh_of, 1000), 1);
}

TEST(Simd, TransposeMovesEveryLane) {
  Vec square[lanes];
  float values[lanes];
  for (std::size_t r = 0; r < lanes; ++r) {
    for (std::size_t c = 0; c < lanes; ++c) values[c] = static_cast<float>(100 * r + c);
    square[r] = load(values);
  }
  transpose(square);
  for (std::size_t r = 0; r < lanes; ++r) {
    store(square[r], values);
    for (std::size_t c = 0; c < lanes; ++c) {
      EXPECT_EQ(values[c], static_cast<float>(100 * c + r));
    }
  }
}

TEST(Simd, FoldsFourVectorsAtOnce) {
  float x[4][lanes], sums[4], most[4];
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t l = 0; l < lanes; ++l) {
      x[i][l] = static_cast<float>((l + 1) << i) * ((l + i) % 3 == 0 ? -1.0f : 1.0f);
    }
  }
  const auto fold = [&](auto op, float* to) {
    Vec v[4] = {load(x[0]), load(x[1]), load(x[2]), load(x[3])};
    fold_lanes(v, op, to);
  };
  fold([](Vec a, Vec b) { return hn::Add(a, b); }, sums);
  fold([](Vec a, Vec b) { return hn::Max(a, b); }, most);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(sums[i], std::accumulate(x[i], x[i] + lanes, 0.0f));
    EXPECT_EQ(most[i], *std::max_element(x[i], x[i] + lanes));
  }
}

TEST(Simd, LoadsWidenHalves) {
  Bf16 b[lanes];
  Fp16 h[lanes];
  for (std::size_t i = 0; i < lanes; ++i) {
    b[i] = to_bf16(0.37f * static_cast<float>(i) - 2);
    h[i] = i % 2 != 0 ? Fp16{static_cast<std::uint16_t>(i)} : to_fp16(1.7f * static_cast<float>(i));
  }
  float out[lanes];
  store(load(b), out);
  for (std::size_t i = 0; i < lanes; ++i) EXPECT_EQ(out[i], to_float(b[i]));
  store(load(h), out);
  for (std::size_t i = 0; i < lanes; ++i) EXPECT_EQ(out[i], to_float(h[i]));
}

struct Columns {
  const float* b;
  std::size_t stride;
  Vec operator()(std::size_t k, std::size_t v) const { return load(b + k * stride + v * lanes); }
};

/// An element is one chain of fused multiply-adds over k, whatever tile it falls into; rows behind the
/// last one stay as they are.
TEST(Simd, ProductTilesEqualOneChainPerElement) {
  constexpr std::size_t most = 14, count = 37, width = tile_width;
  Rng rng(1);
  std::vector<float> a(most * count), b(count * width);
  for (float& x : a) x = static_cast<float>(rng.normal());
  for (float& x : b) x = static_cast<float>(rng.normal());
  std::vector<float> each(most * width, 1.0f);
  for (std::size_t r = 0; r < most; ++r) {
    for (std::size_t c = 0; c < width; c += lanes) {
      float* one = &each[r * width + c];
      multiply_tile<1, 1>(0, count, &a[r * count], count, Columns{&b[c], width}, true, one, lanes);
      for (std::size_t l = 0; l < lanes; ++l) {
        double exact = 1;
        for (std::size_t k = 0; k < count; ++k) {
          exact +=
              static_cast<double>(a[r * count + k]) * static_cast<double>(b[k * width + c + l]);
        }
        EXPECT_NEAR(one[l], exact, 1e-5);
      }
    }
  }
  for (std::size_t rows = 0; rows <= most; ++rows) {
    std::vector<float> all(most * width, 1.0f), want(all);
    std::copy_n(each.begin(), rows * width, want.begin());
    multiply_rows<tile_vectors>(rows, 0, count, a.data(), count, Columns{b.data(), width}, true,
                                all.data(), width);
    EXPECT_EQ(all, want) << rows << " rows";
  }
}

}  // namespace
}  // namespace quire::simd
