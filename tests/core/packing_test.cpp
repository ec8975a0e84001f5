#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/hadamard.hpp>
#include <quire/core/lloyd_max.hpp>
#include <quire/core/packing.hpp>
#include <quire/core/rng.hpp>

namespace quire {
namespace {

template <unsigned bits>
void round_trip() {
  for (const std::size_t n : {8u, 16u, 24u, 32u, 64u, 256u}) {
    std::vector<std::uint8_t> codes(n);
    Rng rng(n);
    for (auto& c : codes) c = static_cast<std::uint8_t>(rng.below(1u << bits));
    std::vector<std::byte> bytes(packing::bytes_of<bits>(n) + 1, std::byte{0x5a});
    packing::pack<bits>(codes.data(), n, bytes.data());
    EXPECT_EQ(bytes.back(), std::byte{0x5a});
    std::vector<float> linear(n), looked_up(n), table(16);
    for (std::size_t i = 0; i < 16; ++i) table[i] = static_cast<float>(i * i) + 1;
    packing::unpack_linear<bits>(bytes.data(), n, 0.5f, 3, linear.data());
    if constexpr (bits <= 4) {
      packing::unpack_table<bits>(bytes.data(), n, table.data(), 2, looked_up.data());
    }
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(packing::code_at<bits>(bytes.data(), n, i), codes[i]);
      EXPECT_EQ(linear[i], 0.5f * codes[i] + 3);
      EXPECT_EQ(looked_up[i], bits <= 4 ? 2 * table[codes[i]] : 0.0f);
    }
  }
}

TEST(Packing, EveryWidthGivesItsCodesBack) {
  round_trip<1>();
  round_trip<2>();
  round_trip<3>();
  round_trip<4>();
  round_trip<8>();
}

TEST(Packing, FourBitsLieAsInGgml) {
  std::vector<std::uint8_t> codes(32);
  for (std::size_t i = 0; i < 32; ++i) codes[i] = static_cast<std::uint8_t>(i % 16);
  codes[16] = 9;
  std::vector<std::byte> bytes(16);
  packing::pack<4>(codes.data(), 32, bytes.data());
  EXPECT_EQ(bytes[0], std::byte{0x90});
  EXPECT_EQ(bytes[3], std::byte{0x33});
}

TEST(Packing, HadamardIsItsOwnInverseAndKeepsLengths) {
  std::vector<float> x(128);
  Rng rng(1);
  for (float& v : x) v = static_cast<float>(rng.normal());
  std::vector<float> y = x;
  hadamard(y.data(), y.size());
  double before = 0, after = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    before += static_cast<double>(x[i] * x[i]);
    after += static_cast<double>(y[i] * y[i]);
  }
  EXPECT_NEAR(before, after, 1e-3);
  EXPECT_NE(x, y);
  hadamard(y.data(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-5f);
}

/// Lloyd's iteration on a normal variable: each level is the mean of what is nearest to it.
template <unsigned bits>
void derive() {
  const auto density = [](double x) {
    return std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979);
  };
  const auto below = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  constexpr std::size_t n = std::size_t{1} << bits;
  std::vector<double> levels(n);
  for (std::size_t i = 0; i < n; ++i) levels[i] = -2.5 + 5.0 * (static_cast<double>(i) + 0.5) / n;
  for (int round = 0; round < 3000; ++round) {
    std::vector<double> next(n);
    for (std::size_t i = 0; i < n; ++i) {
      const double low = i == 0 ? -40 : (levels[i - 1] + levels[i]) / 2;
      const double high = i + 1 == n ? 40 : (levels[i] + levels[i + 1]) / 2;
      next[i] = (density(low) - density(high)) / (below(high) - below(low));
    }
    levels = next;
  }
  for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(lloyd_max<bits>[i], levels[i], 1e-6);
}

TEST(Packing, LloydMaxLevelsAreWhatTheIterationGives) {
  derive<1>();
  derive<2>();
  derive<3>();
  derive<4>();
}

}  // namespace
}  // namespace quire
