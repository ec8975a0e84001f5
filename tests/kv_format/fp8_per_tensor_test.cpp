#include <quire/kv_format/fp8_per_tensor.hpp>

#include <algorithm>
#include <cmath>

#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp8_per_head.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

static_assert(codec_of<Fp8PerTensor<ScaleFrom::mse>>().keys.fits_layer);
static_assert(!codec_of<Fp8PerHead<ScaleFrom::mse>>().keys.fits_layer);
static_assert(Fp8PerTensor<ScaleFrom::min_max, E5m2>::name == "fp8_e5m2_per_tensor_min_max");
static_assert(Fp8PerTensor<ScaleFrom::percentile>::name == "fp8_per_tensor_percentile");

/// The squared error that values keep, and the scale that was found for them.
template <ScaleFrom from>
double error_of(const std::vector<float>& rows, float& scale) {
  using Side = Fp8PerTensor<from, E5m2>;
  constexpr std::size_t dim = 64;
  const std::size_t count = rows.size() / dim;
  Side::fit(rows.data(), count, dim, &scale);
  AlignedArray<std::byte> slab(Side::slab_bytes(count, dim));
  std::vector<float> got(dim);
  double error = 0;
  for (std::size_t t = 0; t < count; ++t) {
    Side::store(&scale, slab.data(), count, dim, t, rows.data() + t * dim);
    Side::load(&scale, slab.data(), count, dim, t, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      const float x = rows[t * dim + i];
      EXPECT_EQ(got[i], to_float(to_e5m2(x * (1.0f / scale))) * scale);
      error += std::pow(static_cast<double>(got[i] - x), 2);
    }
  }
  return error;
}

TEST(Fp8PerTensorKvFormat, OfE5m2ReachesItsOwnEnd) {
  std::vector<float> rows = random_token(64 * 64, 3);
  rows[100] = 300;
  float most = 0, cut = 0, best = 0, one = 0;
  const double min_max = error_of<ScaleFrom::min_max>(rows, most);
  (void)error_of<ScaleFrom::percentile>(rows, cut);
  EXPECT_LE(error_of<ScaleFrom::mse>(rows, best), min_max);
  (void)error_of<ScaleFrom::none>(rows, one);
  EXPECT_EQ(most, 300.0f / 57344);
  EXPECT_LT(cut, most / 10);
  EXPECT_LE(best, most);
  EXPECT_EQ(one, 1);
  // A power of two times all values moves the scale alone: floating point has no better place for them.
  for (float& x : rows) x *= 0x1p-20f;
  float small = 0;
  EXPECT_EQ(error_of<ScaleFrom::min_max>(rows, small), min_max * 0x1p-40);
  EXPECT_EQ(small, most * 0x1p-20f);
}

}  // namespace
}  // namespace quire::testing
