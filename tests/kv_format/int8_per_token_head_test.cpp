#include <algorithm>
#include <cmath>
#include <limits>

#include <quire/kv_format/int8_per_token_head.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using F = kv_format::Int8PerTokenHead;

TEST(Int8PerTokenHeadKvFormat, ErrsByHalfAStepOfItsTokensScale) {
  EXPECT_EQ(F::token_bytes(128), 132.0);
  EXPECT_EQ(F::slab_bytes(16, 128), 16u * 128u + 64u);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto values = random_token(80, seed);
    AlignedArray<std::byte> slab(F::slab_bytes(8, 80));
    std::vector<float> got(80);
    F::store(slab.data(), 8, 80, 5, values.data());
    F::load(slab.data(), 8, 80, 5, got.data());
    float largest = 0;
    for (float v : values) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < 80; ++i) {
      EXPECT_LE(std::abs(got[i] - values[i]), largest / 254.0f * 1.0001f);
    }
  }
}

TEST(Int8PerTokenHeadKvFormat, LargestMagnitudeOfATokenIsExactWhateverItsNeighboursHold) {
  AlignedArray<std::byte> slab(F::slab_bytes(4, 8));
  const std::vector<float> small(8, 1e-3f);
  const std::vector<float> large(8, -1e4f);
  std::vector<float> got(8);
  F::store(slab.data(), 4, 8, 0, small.data());
  F::store(slab.data(), 4, 8, 1, large.data());
  F::load(slab.data(), 4, 8, 0, got.data());
  for (float v : got) EXPECT_NEAR(v, 1e-3f, 1e-9f);
  F::load(slab.data(), 4, 8, 1, got.data());
  for (float v : got) EXPECT_NEAR(v, -1e4f, 1e-2f);
}

}  // namespace
}  // namespace quire::testing
