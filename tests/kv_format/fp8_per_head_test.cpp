#include <quire/kv_format/fp8_per_head.hpp>

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

}  // namespace
}  // namespace quire::testing
