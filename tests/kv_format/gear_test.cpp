#include <quire/kv_format/gear.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;
constexpr std::size_t gear_dim = 64, gear_block = 64;

/// Tokens that share directions, and a few values far outside.
std::vector<float> rows() {
  std::vector<float> out = random_token(gear_block * gear_dim, 8);
  const std::vector<float> shared = random_token(gear_dim, 9),
                           weight = random_token(gear_block, 10);
  for (std::size_t t = 0; t < gear_block; ++t) {
    for (std::size_t c = 0; c < gear_dim; ++c) {
      out[t * gear_dim + c] += 3 * weight[t] * shared[c];
      if ((t * gear_dim + c) % 97 == 0) out[t * gear_dim + c] += 12;
    }
  }
  return out;
}

template <class Side>
double error_of(const std::vector<float>& from) {
  AlignedArray<std::byte> slab(Side::slab_bytes(gear_block, gear_dim));
  Side::seal(slab.data(), gear_block, gear_dim, from.data());
  std::vector<float> got(gear_dim);
  double error = 0;
  for (std::size_t t = 0; t < gear_block; ++t) {
    Side::load(slab.data(), gear_block, gear_dim, t, got.data());
    for (std::size_t i = 0; i < gear_dim; ++i) {
      error += std::pow(static_cast<double>(got[i] - from[t * gear_dim + i]), 2);
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

/// A group of 32 tokens by a plain model: outliers, what the integers see, and their steps.
struct Group {
  std::vector<bool> outlier;
  std::vector<double> plain, bound;  // what the integers get, and how far they may miss it
  Group(const float* rows, bool along_tokens, unsigned bits)
      : outlier(32 * gear_dim), plain(rows, rows + 32 * gear_dim), bound(32 * gear_dim) {
    const std::size_t all = 32 * gear_dim, keys = along_tokens ? gear_dim : 32;
    const auto line = [&](std::size_t i) { return along_tokens ? i % gear_dim : i / gear_dim; };
    std::vector<double> mean(keys);
    for (std::size_t i = 0; i < all; ++i) {
      mean[line(i)] += plain[i] / (along_tokens ? 32.0 : static_cast<double>(gear_dim));
    }
    std::vector<std::size_t> order(all);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::abs(plain[a] - mean[line(a)]) > std::abs(plain[b] - mean[line(b)]);
    });
    for (std::size_t k = 0; k < all * 2 / 100; ++k) {
      outlier[order[k]] = true;
      plain[order[k]] = mean[line(order[k])];
    }
    // Integers share a scale over 32 tokens of a channel, or over 32 channels of a token.
    for (std::size_t i = 0; i < all; ++i) {
      double low = 1e300, high = -1e300;
      for (std::size_t j = 0; j < 32; ++j) {
        const double x = plain[along_tokens ? j * gear_dim + i % gear_dim : i / 32 * 32 + j];
        low = std::min(low, x);
        high = std::max(high, x);
      }
      // Half a step, and what fp16 moves the least value and the step by.
      bound[i] = (high - low) / ((1u << bits) - 1u) / 2 + (high - low + std::abs(low)) * 0x1p-10;
    }
  }
};

/// Squared largest singular value. \shape m (32, gear_dim)
double largest_square(const std::vector<double>& m) {
  std::vector<double> v(gear_dim, 1.0), u(32);
  double square = 0;
  for (int round = 0; round < 200; ++round) {
    std::fill(u.begin(), u.end(), 0.0);
    for (std::size_t i = 0; i < m.size(); ++i) u[i / gear_dim] += m[i] * v[i % gear_dim];
    const double length = std::sqrt(std::inner_product(u.begin(), u.end(), u.begin(), 0.0));
    for (double& x : u) x /= length;
    std::fill(v.begin(), v.end(), 0.0);
    for (std::size_t i = 0; i < m.size(); ++i) v[i % gear_dim] += m[i] * u[i / gear_dim];
    square = std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
    const double inverse = 1 / std::sqrt(square);
    for (double& x : v) x *= inverse;
  }
  return square;
}

/// What the integers leave of a group. \shape plain (32, gear_dim)
template <class Side, bool along_tokens>
std::vector<double> left_by_integers(const std::vector<double>& plain) {
  using Integers = typename Side::Backbone;
  const std::vector<float> from(plain.begin(), plain.end());
  std::vector<float> got(gear_dim);
  std::vector<double> rest(plain.size());
  AlignedArray<std::byte> slab(Integers::slab_bytes(32, gear_dim));
  if constexpr (along_tokens) Integers::seal(slab.data(), 32, gear_dim, from.data());
  for (std::size_t t = 0; t < 32; ++t) {
    if constexpr (!along_tokens)
      Integers::store(slab.data(), 32, gear_dim, t, from.data() + t * gear_dim);
    Integers::load(slab.data(), 32, gear_dim, t, got.data());
    for (std::size_t c = 0; c < gear_dim; ++c) {
      rest[t * gear_dim + c] = plain[t * gear_dim + c] - static_cast<double>(got[c]);
    }
  }
  return rest;
}

/// Outliers come back as fp16 has them; without the product every other value within half a step of its
/// integers; and the product takes away what its rank can of what those leave, 5 % of it given away to the
/// eight rounds of its iteration and to fp16.
template <unsigned bits, bool along_tokens>
void expect_within_bounds() {
  using Integers = GearSide<bits, along_tokens, 0, 2>;
  using Whole = GearSide<bits, along_tokens, 1, 2>;
  const std::vector<float> from = rows();
  AlignedArray<std::byte> slab(Whole::slab_bytes(gear_block, gear_dim));
  std::vector<float> plain(gear_block * gear_dim), both(gear_block * gear_dim);
  Integers::seal(slab.data(), gear_block, gear_dim, from.data());
  for (std::size_t t = 0; t < gear_block; ++t) {
    Integers::load(slab.data(), gear_block, gear_dim, t, plain.data() + t * gear_dim);
  }
  Whole::seal(slab.data(), gear_block, gear_dim, from.data());
  for (std::size_t t = 0; t < gear_block; ++t) {
    Whole::load(slab.data(), gear_block, gear_dim, t, both.data() + t * gear_dim);
  }
  for (std::size_t begin = 0; begin < gear_block * gear_dim; begin += 32 * gear_dim) {
    const Group group(from.data() + begin, along_tokens, bits);
    const std::vector<double> rest = left_by_integers<Whole, along_tokens>(group.plain);
    const double before = std::inner_product(rest.begin(), rest.end(), rest.begin(), 0.0);
    double after = 0;
    for (std::size_t i = 0; i < 32 * gear_dim; ++i) {
      const auto x = static_cast<double>(from[begin + i]);
      const double one = static_cast<double>(plain[begin + i]) - x;
      const double two = static_cast<double>(both[begin + i]) - x;
      if (group.outlier[i]) {
        ASSERT_LE(std::max(std::abs(one), std::abs(two)), std::abs(x) * 0x1p-11 + 0x1p-25);
        continue;
      }
      ASSERT_LE(std::abs(one), group.bound[i]) << i;
      after += two * two;
    }
    EXPECT_LE(after, before - 0.95 * largest_square(rest));
  }
}

TEST(GearKvFormat, EveryValueIsWithinItsBound) {
  expect_within_bounds<2, true>();
  expect_within_bounds<2, false>();
  expect_within_bounds<4, true>();
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
