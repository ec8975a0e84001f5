#include <cmath>

#include <quire/kv_format/rotated.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(RotatedKvFormat, LeavesProductsOfQueriesAndKeysAlone) {
  const std::vector<float> q = random_token(64, 1), k = random_token(64, 2);
  std::vector<float> hq = q, hk = k;
  RotatedSide<Int4PerTokenHead>::to_basis(hq.data(), 64);
  RotatedSide<Int4PerTokenHead>::to_basis(hk.data(), 64);
  double plain = 0, turned = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    plain += static_cast<double>(q[i]) * static_cast<double>(k[i]);
    turned += static_cast<double>(hq[i]) * static_cast<double>(hk[i]);
  }
  EXPECT_NEAR(plain, turned, 1e-5);
  RotatedSide<Int4PerTokenHead>::from_basis(hk.data(), 64);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_NEAR(hk[i], k[i], 1e-5f);
  EXPECT_FALSE(RotatedSide<Int4PerTokenHead>::refusal(16, 96).empty());
}

TEST(RotatedKvFormat, SpreadsAnOutlier) {
  std::vector<float> token = random_token(64, 2);
  token[40] = 30;
  std::vector<float> got = through<RotatedSide<Int4PerTokenHead>>(token);
  RotatedSide<Int4PerTokenHead>::from_basis(got.data(), 64);
  const std::vector<float> plain = through<Int4PerTokenHead>(token);
  double a = 0, b = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    a += std::pow(static_cast<double>(got[i] - token[i]), 2);
    b += std::pow(static_cast<double>(plain[i] - token[i]), 2);
  }
  EXPECT_LT(a, b / 4);
}

}  // namespace
}  // namespace quire::testing
