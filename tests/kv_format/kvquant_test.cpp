#include <quire/kv_format/kvquant.hpp>

#include <algorithm>
#include <cmath>

#include <quire/core/lloyd_max.hpp>
#include <quire/kv_format/channel_groups.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;
constexpr std::size_t nuq_dim = 64, nuq_count = 512;

/// Channels with a middle and a width of their own, and one value in two hundred far outside.
std::vector<float> keys() {
  std::vector<float> rows = random_token(nuq_count * nuq_dim, 4);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto c = static_cast<float>(i % nuq_dim);
    if (i % 211 == 7) rows[i] *= 8;
    rows[i] = rows[i] * (0.1f + 0.05f * c) + 3 * std::sin(c);
  }
  return rows;
}

template <class Side>
double error_of(const std::vector<float>& rows, const float* fitted) {
  AlignedArray<std::byte> slab(Side::slab_bytes(nuq_count, nuq_dim));
  std::vector<float> got(nuq_dim);
  double error = 0;
  for (std::size_t t = 0; t < nuq_count; ++t) {
    Side::store(fitted, slab.data(), nuq_count, nuq_dim, t, rows.data() + t * nuq_dim);
    Side::load(fitted, slab.data(), nuq_count, nuq_dim, t, got.data());
    for (std::size_t i = 0; i < nuq_dim; ++i) {
      error += std::pow(static_cast<double>(got[i] - rows[t * nuq_dim + i]), 2);
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
  std::vector<float> fitted(Keys::fit_floats(nuq_dim));
  Keys::fit(rows.data(), nuq_count, nuq_dim, fitted.data());
  const double both = error_of<Keys>(rows, fitted.data());
  std::vector<float> equal = fitted;
  nuq::equal_levels(equal.data() + 2 * nuq_dim, 8);
  EXPECT_LT(both, 0.85 * error_of<Keys>(rows, equal.data()));
  // Without outliers, keys in the same levels: what the row's last bytes are worth.
  std::vector<std::byte> row(Keys::row_bytes(nuq_dim));
  std::vector<float> got(nuq_dim);
  double without = 0;
  for (std::size_t t = 0; t < nuq_count; ++t) {
    Keys::encode(fitted.data(), rows.data() + t * nuq_dim, nuq_dim, row.data());
    packing::unpack_table<3>(row.data(), nuq_dim, fitted.data() + 2 * nuq_dim, 1.0f, got.data());
    for (std::size_t i = 0; i < nuq_dim; ++i) {
      const float x = got[i] * fitted[nuq_dim + i] + fitted[i];
      without += std::pow(static_cast<double>(x - rows[t * nuq_dim + i]), 2);
    }
  }
  EXPECT_LT(both, 0.7 * without);
  EXPECT_TRUE(Keys::before_rotation);
  EXPECT_EQ(Keys::token_bytes(64), 27.0);   // 3.375 bits a value
  EXPECT_EQ(Keys::token_bytes(128), 54.0);  // two outliers
  EXPECT_EQ(Kvquant<3>::Values::token_bytes(64), 31.0);
}

/// Distance to the nearest level.
double miss(double x, const float* levels, std::size_t nuq_count) {
  double least = 1e300;
  for (std::size_t i = 0; i < nuq_count; ++i) {
    least = std::min(least, std::abs(x - static_cast<double>(levels[i])));
  }
  return least;
}
/// Half a step of fp16.
double half_step(float x) { return std::abs(static_cast<double>(x)) * 0x1p-11 + 0x1p-25; }

/// The channel that the levels miss most comes back as fp16 has it, every other one at its nearest level,
/// and its bounds are the channel's 0.5 % and 99.5 %.
TEST(KvquantKvFormat, KeysComeBackAtTheNearestLevelBetweenTheBoundsOfTheirChannel) {
  using Keys = Kvquant<2>::Keys;
  constexpr std::size_t levels = 4;
  const std::vector<float> rows = keys();
  std::vector<float> fitted(Keys::fit_floats(nuq_dim)), channel(nuq_count), got(nuq_dim);
  Keys::fit(rows.data(), nuq_count, nuq_dim, fitted.data());
  const float *middle = fitted.data(), *half = middle + nuq_dim, *table = half + nuq_dim;
  double sums[levels] = {}, weights[levels] = {};
  for (std::size_t c = 0; c < nuq_dim; ++c) {
    for (std::size_t t = 0; t < nuq_count; ++t) channel[t] = rows[t * nuq_dim + c];
    std::sort(channel.begin(), channel.end());
    const float low = channel[nuq_count / 200], high = channel[nuq_count - 1 - nuq_count / 200];
    EXPECT_FLOAT_EQ(middle[c], low + (high - low) / 2);
    EXPECT_FLOAT_EQ(half[c], (high - low) / 2);
    for (const float x : channel) {
      const double u = static_cast<double>((x - middle[c]) / half[c]);
      std::size_t near = 0;
      for (std::size_t l = 1; l < levels; ++l) {
        if (std::abs(u - static_cast<double>(table[l])) <
            std::abs(u - static_cast<double>(table[near]))) {
          near = l;
        }
      }
      const double weight = static_cast<double>(half[c]) * static_cast<double>(half[c]);
      if (std::abs(u) <= 1) sums[near] += weight * u, weights[near] += weight;
    }
  }
  // Levels are the means of what is nearest to them: a fixed point, as far as bins of 1 / 1024 go.
  for (std::size_t l = 0; l < levels; ++l) EXPECT_NEAR(sums[l] / weights[l], table[l], 2e-3);
  AlignedArray<std::byte> slab(Keys::slab_bytes(nuq_count, nuq_dim));
  for (std::size_t t = 0; t < nuq_count; ++t) {
    const float* row = rows.data() + t * nuq_dim;
    Keys::store(fitted.data(), slab.data(), nuq_count, nuq_dim, t, row);
    Keys::load(fitted.data(), slab.data(), nuq_count, nuq_dim, t, got.data());
    std::vector<double> missed(nuq_dim);
    for (std::size_t c = 0; c < nuq_dim; ++c) {
      const double h = static_cast<double>(half[c]);
      missed[c] = h * miss(static_cast<double>(row[c] - middle[c]) / h, table, levels);
    }
    const auto most = std::max_element(missed.begin(), missed.end());
    for (std::size_t c = 0; c < nuq_dim; ++c) {
      const double error = std::abs(static_cast<double>(got[c]) - static_cast<double>(row[c]));
      const bool outlier = &missed[c] == &*most;
      const double size = static_cast<double>(half[c] + std::abs(middle[c]));
      ASSERT_LE(error, outlier ? half_step(row[c]) : missed[c] + 1e-6 * size) << t << ' ' << c;
    }
  }
}

/// The value farthest from the mean comes back as fp16 has it, every other one at its nearest level between
/// the bounds of what is left.
TEST(KvquantKvFormat, ValuesComeBackAtTheNearestLevelBetweenTheBoundsOfTheirToken) {
  using Values = Kvquant<2>::Values;
  const std::vector<float> rows = keys();
  std::vector<float> table(4), got(nuq_dim);
  Values::fit(rows.data(), nuq_count, nuq_dim, table.data());
  AlignedArray<std::byte> slab(Values::slab_bytes(nuq_count, nuq_dim));
  for (std::size_t t = 0; t < nuq_count; ++t) {
    const float* row = rows.data() + t * nuq_dim;
    Values::store(table.data(), slab.data(), nuq_count, nuq_dim, t, row);
    Values::load(table.data(), slab.data(), nuq_count, nuq_dim, t, got.data());
    double mean = 0, low = 1e300, high = -1e300;
    for (std::size_t c = 0; c < nuq_dim; ++c) mean += static_cast<double>(row[c]) / nuq_dim;
    std::size_t far = 0;
    for (std::size_t c = 1; c < nuq_dim; ++c) {
      const auto distance = [&](std::size_t i) {
        return std::abs(static_cast<double>(row[i]) - mean);
      };
      if (distance(c) > distance(far)) far = c;
    }
    for (std::size_t c = 0; c < nuq_dim; ++c) {
      if (c == far) continue;
      low = std::min(low, static_cast<double>(row[c]));
      high = std::max(high, static_cast<double>(row[c]));
    }
    const double middle = (low + high) / 2, half = (high - low) / 2;
    // Middle and width lie in fp16: a value moves against its level by half a step of each.
    const double slack = (std::abs(middle) + half) * 0x1p-10;
    for (std::size_t c = 0; c < nuq_dim; ++c) {
      const double x = static_cast<double>(row[c]);
      const double error = std::abs(static_cast<double>(got[c]) - x);
      const double bound = half * miss((x - middle) / half, table.data(), 4) + slack;
      ASSERT_LE(error, c == far ? half_step(row[c]) : bound) << t << ' ' << c;
    }
  }
}

TEST(KvquantKvFormat, ValuesTakeTheirBoundsFromTheToken) {
  using Values = Kvquant<4>::Values;
  const std::vector<float> rows = random_token(nuq_count * nuq_dim, 6);
  std::vector<float> fitted(16), equal(16);
  Values::fit(rows.data(), nuq_count, nuq_dim, fitted.data());
  nuq::equal_levels(equal.data(), 16);
  EXPECT_LT(error_of<Values>(rows, fitted.data()), error_of<Values>(rows, equal.data()));
}

}  // namespace
}  // namespace quire::testing
