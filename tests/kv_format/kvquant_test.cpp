#include <quire/kv_format/kvquant.hpp>

#include <cmath>

#include <quire/core/lloyd_max.hpp>
#include <quire/kv_format/channel_groups.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;
constexpr std::size_t dim = 64, count = 512;

/// Channels with a middle and a width of their own, and one value in two hundred far outside.
std::vector<float> keys() {
  std::vector<float> rows = random_token(count * dim, 4);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto c = static_cast<float>(i % dim);
    if (i % 211 == 7) rows[i] *= 8;
    rows[i] = rows[i] * (0.1f + 0.05f * c) + 3 * std::sin(c);
  }
  return rows;
}

template <class Side>
double error_of(const std::vector<float>& rows, const float* fitted) {
  AlignedArray<std::byte> slab(Side::slab_bytes(count, dim));
  std::vector<float> got(dim);
  double error = 0;
  for (std::size_t t = 0; t < count; ++t) {
    Side::store(fitted, slab.data(), count, dim, t, rows.data() + t * dim);
    Side::load(fitted, slab.data(), count, dim, t, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      error += std::pow(static_cast<double>(got[i] - rows[t * dim + i]), 2);
    }
  }
  return error;
}

TEST(KvquantKvFormat, LevelsOfANormalVariableAreLloydAndMaxs) {
  nuq::Histogram seen;
  Rng rng(5);
  for (int i = 0; i < 200000; ++i) seen.add(static_cast<float>(rng.normal() * 0.2), 1);
  float levels[8];
  seen.fit(levels, 8);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(levels[i], 0.2f * lloyd_max<3>[i], 0.006);
}

TEST(KvquantKvFormat, LevelsAndOutliersEachHelp) {
  using Keys = Kvquant<3>::Keys;
  const std::vector<float> rows = keys();
  std::vector<float> fitted(Keys::fit_floats(dim));
  Keys::fit(rows.data(), count, dim, fitted.data());
  const double both = error_of<Keys>(rows, fitted.data());
  std::vector<float> equal = fitted;
  nuq::equal_levels(equal.data() + 2 * dim, 8);
  EXPECT_LT(both, 0.85 * error_of<Keys>(rows, equal.data()));
  // Without outliers, keys in the same levels: what the row's last bytes are worth.
  std::vector<std::byte> row(Keys::row_bytes(dim));
  std::vector<float> got(dim);
  double without = 0;
  for (std::size_t t = 0; t < count; ++t) {
    Keys::encode(fitted.data(), rows.data() + t * dim, dim, row.data());
    packing::unpack_table<3>(row.data(), dim, fitted.data() + 2 * dim, 1.0f, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      const float x = got[i] * fitted[dim + i] + fitted[i];
      without += std::pow(static_cast<double>(x - rows[t * dim + i]), 2);
    }
  }
  EXPECT_LT(both, 0.7 * without);
  EXPECT_TRUE(Keys::before_rotation);
  EXPECT_EQ(Keys::token_bytes(64), 27.0);   // 3.375 bits a value
  EXPECT_EQ(Keys::token_bytes(128), 54.0);  // two outliers
  EXPECT_EQ(Kvquant<3>::Values::token_bytes(64), 31.0);
}

TEST(KvquantKvFormat, ValuesTakeTheirBoundsFromTheToken) {
  using Values = Kvquant<4>::Values;
  const std::vector<float> rows = random_token(count * dim, 6);
  std::vector<float> fitted(16), equal(16);
  Values::fit(rows.data(), count, dim, fitted.data());
  nuq::equal_levels(equal.data(), 16);
  EXPECT_LT(error_of<Values>(rows, fitted.data()), error_of<Values>(rows, equal.data()));
}

}  // namespace
}  // namespace quire::testing
