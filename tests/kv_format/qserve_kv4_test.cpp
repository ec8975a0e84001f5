#include <quire/kv_format/qserve_kv4.hpp>

#include <cmath>

#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

/// Squared error over the square of each channel's largest value: what a channel loses of itself.
double error_of(const std::vector<float>& rows, std::size_t dim, const float* factors) {
  const std::size_t count = rows.size() / dim;
  AlignedArray<std::byte> slab(SmoothedInt4::slab_bytes(count, dim));
  std::vector<float> got(dim), most(dim);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    most[i % dim] = std::max(most[i % dim], std::abs(rows[i]));
  }
  double error = 0;
  for (std::size_t t = 0; t < count; ++t) {
    SmoothedInt4::store(factors, slab.data(), count, dim, t, rows.data() + t * dim);
    SmoothedInt4::load(factors, slab.data(), count, dim, t, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      error += std::pow(static_cast<double>((got[i] - rows[t * dim + i]) / most[i]), 2);
    }
  }
  return error;
}

TEST(QserveKv4KvFormat, SmoothsChannelsOfKeys) {
  constexpr std::size_t dim = 64, count = 64;
  std::vector<float> rows = random_token(count * dim, 2);
  for (std::size_t t = 0; t < count; ++t) rows[t * dim + 5] *= 30;
  std::vector<float> factors(dim), none(dim, 1.0f);
  SmoothedInt4::fit(rows.data(), count, dim, factors.data());
  EXPECT_EQ(factors[5], factors[5 + dim / 2]);  // a rotary pair
  float most = 0;
  for (std::size_t t = 0; t < count; ++t) most = std::max(most, std::abs(rows[t * dim + 5]));
  EXPECT_EQ(factors[5], std::sqrt(most));
  EXPECT_LT(error_of(rows, dim, factors.data()), error_of(rows, dim, none.data()) / 3);
  const std::vector<float> token = random_token(dim, 3);
  EXPECT_EQ(through<SmoothedInt4>(token), through<Int4PerTokenHead>(token));
  EXPECT_EQ(QserveKv4::Keys::token_bytes(dim), 36.0);
}

}  // namespace
}  // namespace quire::testing
