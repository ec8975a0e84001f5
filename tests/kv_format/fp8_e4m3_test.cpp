#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <quire/kv_format/fp8_e4m3.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Fp8E4m3KvFormat, StoresEveryCodeExactlyAndSaturates) {
  std::vector<float> codes;
  for (unsigned b = 0; b < 256; ++b) {
    const float x = to_float(E4m3{static_cast<std::uint8_t>(b)});
    codes.push_back(std::isnan(x) ? 0.0f : x);
  }
  EXPECT_EQ(through<Fp8E4m3>(codes), codes);
  EXPECT_EQ(through<Fp8E4m3>({1e9f, -1e9f, 449, 1e-9f}), (std::vector<float>{448, -448, 448, 0}));
  EXPECT_EQ(Fp8E4m3::token_bytes(128), 128.0);
}

/// Vectors and what is left of them give the bits of the scalar conversion, subnormal numbers included.
TEST(Fp8E4m3KvFormat, WidensVectorsToTheBitsOfSingleValues) {
  constexpr std::size_t n = 256 + 7;
  std::byte codes[n];
  for (std::size_t i = 0; i < n; ++i) codes[i] = static_cast<std::byte>(i % 256);
  for (const float scale : {1.0f, 0.37f, -2.5f, 1e-30f, 1e30f}) {
    float got[n];
    blockwise::widen_e4m3(codes, n, scale, got);
    for (std::size_t i = 0; i < n; ++i) {
      const float want = to_float(E4m3{static_cast<std::uint8_t>(codes[i])}) * scale;
      if (std::isnan(want)) {
        EXPECT_TRUE(std::isnan(got[i])) << i;
      } else {
        EXPECT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want)) << i;
      }
    }
  }
}

}  // namespace
}  // namespace quire::testing
