#include <quire/kv_format/gear.hpp>

#include <cmath>

#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;
constexpr std::size_t dim = 64, block = 64;

/// Tokens that share directions, and a few values far outside.
std::vector<float> rows() {
  std::vector<float> out = random_token(block * dim, 8);
  const std::vector<float> shared = random_token(dim, 9), weight = random_token(block, 10);
  for (std::size_t t = 0; t < block; ++t) {
    for (std::size_t c = 0; c < dim; ++c) {
      out[t * dim + c] += 3 * weight[t] * shared[c];
      if ((t * dim + c) % 97 == 0) out[t * dim + c] += 12;
    }
  }
  return out;
}

template <class Side>
double error_of(const std::vector<float>& from) {
  AlignedArray<std::byte> slab(Side::slab_bytes(block, dim));
  Side::seal(slab.data(), block, dim, from.data());
  std::vector<float> got(dim);
  double error = 0;
  for (std::size_t t = 0; t < block; ++t) {
    Side::load(slab.data(), block, dim, t, got.data());
    for (std::size_t i = 0; i < dim; ++i) {
      error += std::pow(static_cast<double>(got[i] - from[t * dim + i]), 2);
    }
  }
  return error;
}

template <bool along_tokens>
void expect_each_part_helps() {
  const std::vector<float> from = rows();
  const double backbone = error_of<GearSide<2, along_tokens, 0, 0>>(from);
  const double sparse = error_of<GearSide<2, along_tokens, 0, 2>>(from);
  const double product = error_of<GearSide<2, along_tokens, 2, 0>>(from);
  const double both = error_of<GearSide<2, along_tokens, 2, 2>>(from);
  EXPECT_LT(sparse, 0.9 * backbone);
  EXPECT_LT(product, 0.95 * backbone);
  EXPECT_LT(both, 0.95 * sparse);
  EXPECT_LT(both, product);
}

TEST(GearKvFormat, EachPartReducesTheError) {
  expect_each_part_helps<true>();
  expect_each_part_helps<false>();
}

TEST(GearKvFormat, CountsWhatItKeeps) {
  // 2 bits and 1 for scales; 2 * (32 + 64) bytes of product and 4 * 40 of outliers for 32 x 64 values.
  EXPECT_EQ(Gear<2>::Keys::token_bytes(64), 24.0 + 352.0 / 32);
  EXPECT_EQ(Gear<2>::Values::token_bytes(64), 24.0 + 352.0 / 32);
  EXPECT_EQ(Gear<2>::name, "gear2_r1_s2");
  EXPECT_NE(Gear<2>::Keys::refusal(16, 64), "");
  EXPECT_NE(Gear<2>::Values::refusal(48, 64), "");
  EXPECT_EQ(Gear<2>::Values::refusal(64, 64), "");
  EXPECT_TRUE((keeps_open_blocks<Gear<2>>));
}

}  // namespace
}  // namespace quire::testing
