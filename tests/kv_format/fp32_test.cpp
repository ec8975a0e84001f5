#include <cmath>

#include <quire/kv_format/fp32.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

TEST(Fp32KvFormat, CostsItsElementAndRoundsToNearest) {
  using F = kv_format::Fp32;
  EXPECT_EQ(F::token_bytes(128), 128.0 * 4);
  EXPECT_EQ(F::slab_bytes(16, 128), 16u * 128u * 4u);
  const auto values = random_token(64, 5);
  AlignedArray<std::byte> slab(F::slab_bytes(4, 64));
  std::vector<float> got(64);
  F::store(slab.data(), 4, 64, 3, values.data());
  F::load(slab.data(), 4, 64, 3, got.data());
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_LE(std::abs(got[i] - values[i]), std::abs(values[i]) * 0.0f);
  }
}

}  // namespace
}  // namespace quire::testing
