#include <quire/kv_format/fp8_per_head.hpp>

#include <algorithm>
#include <cmath>

#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

/// Keys of a head: normal, one value in a thousand a hundred times as large.
std::vector<float> rows_with_outliers(std::size_t count, std::size_t dim) {
  std::vector<float> rows = random_token(count * dim, 1);
  for (std::size_t i = 500; i < rows.size(); i += 1000) rows[i] *= 100;
  return rows;
}

template <ScaleFrom from>
double error_of(const std::vector<float>& rows, std::size_t dim, float& scale) {
  using Side = Fp8PerHead<from>;
  const std::size_t count = rows.size() / dim;
  Side::fit(rows.data(), count, dim, &scale);
  AlignedArray<std::byte> slab(Side::slab_bytes(count, dim));
  std::vector<float> got(dim);
  double error = 0;
  for (std::size_t t = 0; t < count; ++t) {
    Side::store(&scale, slab.data(), count, dim, t, rows.data() + t * dim);
    Side::load(&scale, slab.data(), count, dim, t, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      error += std::pow(static_cast<double>(got[i] - rows[t * dim + i]), 2);
    }
  }
  return error;
}

TEST(Fp8PerHeadKvFormat, FindsItsScaleOnTexts) {
  const std::vector<float> rows = rows_with_outliers(64, 64);
  float largest = 0, most = 0, cut = 0, best = 0;
  for (const float x : rows) largest = std::max(largest, std::abs(x));
  const double min_max = error_of<ScaleFrom::min_max>(rows, 64, most);
  (void)error_of<ScaleFrom::percentile>(rows, 64, cut);
  const double mse = error_of<ScaleFrom::mse>(rows, 64, best);
  EXPECT_EQ(most, largest / 448);
  EXPECT_LT(cut, most / 10);  // the outliers saturate
  EXPECT_GT(cut, 3.0f / 448);
  EXPECT_LE(mse, min_max);
  EXPECT_LE(best, most);
  EXPECT_EQ(Fp8PerHead<ScaleFrom::mse>::token_bytes(64), 64.0);
  const std::vector<float> silent(64);
  float scale = 0;
  Fp8PerHead<ScaleFrom::mse>::fit(silent.data(), 1, 64, &scale);
  EXPECT_EQ(scale, 1);
}

/// Every finite number of E4M3, by its definition: 1 sign, 4 exponent, 3 mantissa bits, bias 7, up to 448.
std::vector<double> e4m3_numbers() {
  std::vector<double> all;
  for (int e = 0; e < 16; ++e) {
    for (int m = 0; m < 8; ++m) {
      if (e == 15 && m == 7) continue;  // NaN
      const double x = e == 0 ? std::ldexp(m, -9) : std::ldexp(8 + m, e - 10);
      all.push_back(x);
      all.push_back(-x);
    }
  }
  return all;
}
double distance_to_e4m3(double x) {
  static const std::vector<double> all = e4m3_numbers();
  double least = 1e300;
  for (const double y : all) least = std::min(least, std::abs(x - y));
  return least;
}

/// Each value comes back at the nearest multiple of its head's scale; the scale is what its method says.
template <ScaleFrom from>
void expect_nearest(const std::vector<float>& rows, double wanted) {
  using Side = Fp8PerHead<from>;
  constexpr std::size_t dim = 64;
  const std::size_t count = rows.size() / dim;
  float scale = 0;
  Side::fit(rows.data(), count, dim, &scale);
  EXPECT_NEAR(scale, wanted, 1e-6 * wanted);
  const auto s = static_cast<double>(scale);
  AlignedArray<std::byte> slab(Side::slab_bytes(count, dim));
  std::vector<float> got(dim);
  for (std::size_t t = 0; t < count; ++t) {
    Side::store(&scale, slab.data(), count, dim, t, rows.data() + t * dim);
    Side::load(&scale, slab.data(), count, dim, t, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      const auto x = static_cast<double>(rows[t * dim + i]);
      ASSERT_LE(std::abs(static_cast<double>(got[i]) - x),
                s * distance_to_e4m3(x / s) + 1e-6 * std::abs(x))
          << name_of(from) << ' ' << x;
    }
  }
}

TEST(Fp8PerHeadKvFormat, ValuesComeBackAtTheNearestNumberForTheScaleOfTheMethod) {
  // Nearly all values in the middle between two numbers when the largest is the last one.
  std::vector<float> between = random_token(64 * 64, 5);
  for (float& x : between) x = 0.965f + 0.001f * x;
  between[77] = 1;
  for (const auto& rows : {rows_with_outliers(32, 64), between}) {
    std::vector<double> sizes;
    for (const float x : rows) sizes.push_back(std::abs(static_cast<double>(x)));
    std::sort(sizes.begin(), sizes.end());
    const double largest = sizes.back() / 448;
    double best = 0, least = 1e300;
    for (int step = 0; step < 32; ++step) {
      const double scale = largest * std::exp2(-3.0 * step / 31);
      double error = 0;
      for (const double x : sizes) error += std::pow(scale * distance_to_e4m3(x / scale), 2);
      if (error < least) {
        least = error;
        best = scale;
      }
    }
    if (sizes.size() == 64 * 64) {  // there is something to find
      EXPECT_LT(best, 0.99 * largest);
    }
    expect_nearest<ScaleFrom::none>(rows, 1);
    expect_nearest<ScaleFrom::min_max>(rows, largest);
    expect_nearest<ScaleFrom::percentile>(rows, sizes[(sizes.size() - 1) * 999 / 1000] / 448);
    expect_nearest<ScaleFrom::mse>(rows, best);
  }
}

}  // namespace
}  // namespace quire::testing
