#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/weight_format/sparse_24.hpp>

namespace quire::testing {
namespace {

using weight_format::Sparse24;

struct Panel {
  std::size_t outputs, inputs;
  AlignedArray<std::byte> bytes;
  std::vector<float> kept;  // \shape (outputs, inputs)

  Panel(std::size_t n, std::size_t k, const std::vector<float>& weights)
      : outputs(n), inputs(k), bytes(Sparse24::panel_bytes(n, k)), kept(n * k) {
    Sparse24::pack(bytes.data(), n, k, weights.data());
    for (std::size_t i = 0; i < n; ++i) {
      Sparse24::read(bytes.data(), n, k, i, kept.data() + i * k);
    }
  }
  [[nodiscard]] std::vector<float> multiply(const std::vector<float>& x, std::size_t rows) const {
    AlignedArray<std::byte> packed(rows * Sparse24::row_bytes(inputs));
    for (std::size_t r = 0; r < rows; ++r) {
      Sparse24::pack_row(x.data() + r * inputs, inputs,
                         packed.data() + r * Sparse24::row_bytes(inputs));
    }
    std::vector<float> y(rows * outputs, 1.0f);
    Sparse24::add_products(bytes.data(), outputs, inputs, packed.data(), rows, y.data(), outputs);
    return y;
  }
};

std::vector<float> normal(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(rng.normal());
  return v;
}

TEST(Sparse24WeightFormat, KeepsTheTwoLargestOfFour) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> weights = {1, -2, 3, 0.5f, 1, 1, 1, 1, 0, 0, 0, -4, 2, nan, 3, 0, 5, 6};
  const Panel p(1, 18, weights);
  const std::vector<float> want = {0, -2, 3, 0, 1, 1, 0, 0, 0, 0, 0, -4, 0, nan, 3, 0, 5, 6};
  for (std::size_t k = 0; k < want.size(); ++k) {
    if (std::isnan(want[k])) {
      EXPECT_TRUE(std::isnan(p.kept[k])) << k;
    } else {
      EXPECT_EQ(p.kept[k], want[k]) << k;
    }
  }
}

TEST(Sparse24WeightFormat, TakesNineBitsAWeight) {
  EXPECT_EQ(Sparse24::panel_bytes(64, 2048), 64u * 2048u * 9u / 8u);
  EXPECT_EQ(8 * Sparse24::weight_bytes(2048), 9.0);
}

/// Whatever the number of rows, and so whichever way they are multiplied, a row's result is the same to
/// the bit, and that of the kept weights in double but for fp32's rounding.
TEST(Sparse24WeightFormat, ProductsAreThoseOfTheKeptWeights) {
  for (const std::size_t outputs : {std::size_t{64}, std::size_t{128}, std::size_t{7}}) {
    for (const std::size_t inputs :
         {std::size_t{1}, std::size_t{16}, std::size_t{64}, std::size_t{300}, std::size_t{513}}) {
      const Panel p(outputs, inputs, normal(outputs * inputs, outputs + inputs));
      constexpr std::size_t most = 19;
      const auto x = normal(most * inputs, 7);
      const auto all = p.multiply(x, most);
      for (std::size_t r = 0; r < most; ++r) {
        for (std::size_t n = 0; n < outputs; ++n) {
          double want = 1, size = 1;
          for (std::size_t k = 0; k < inputs; ++k) {
            const double term = static_cast<double>(x[r * inputs + k]) *
                                static_cast<double>(p.kept[n * inputs + k]);
            want += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(all[r * outputs + n], want, 1e-6 * size) << outputs << ' ' << inputs;
        }
      }
      for (std::size_t rows = 1; rows < most; ++rows) {
        const auto some = p.multiply(x, rows);
        for (std::size_t i = 0; i < some.size(); ++i) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(some[i]), std::bit_cast<std::uint32_t>(all[i]))
              << rows << " rows of " << inputs << " inputs, " << outputs << " outputs";
        }
      }
    }
  }
}

TEST(Sparse24WeightFormat, UnpacksAnyPart) {
  const Panel p(64, 100, normal(6400, 3));
  for (const std::size_t first : {std::size_t{0}, std::size_t{16}, std::size_t{5}}) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{16}, std::size_t{50}}) {
      std::vector<float> got(count * 64);
      Sparse24::unpack(p.bytes.data(), 64, 100, first, count, got.data());
      for (std::size_t k = 0; k < count; ++k) {
        for (std::size_t n = 0; n < 64; ++n) {
          ASSERT_EQ(got[k * 64 + n], p.kept[n * 100 + first + k]) << first << ' ' << count;
        }
      }
    }
  }
}

}  // namespace
}  // namespace quire::testing
