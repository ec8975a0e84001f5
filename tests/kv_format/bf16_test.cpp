#include <cmath>

#include <quire/kv_format/bf16.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

TEST(Bf16KvFormat, CostsItsElementAndRoundsToNearest) {
  using F = kv_format::Bf16;
  EXPECT_EQ(F::token_bytes(128), 128.0 * 2);
  EXPECT_EQ(F::slab_bytes(16, 128), 16u * 128u * 2u);
  const auto values = random_token(64, 5);
  AlignedArray<std::byte> slab(F::slab_bytes(4, 64));
  std::vector<float> got(64);
  F::store(slab.data(), 4, 64, 3, values.data());
  F::load(slab.data(), 4, 64, 3, got.data());
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_LE(std::abs(got[i] - values[i]), std::abs(values[i]) * 0x1p-8f);
  }
}

}  // namespace
}  // namespace quire::testing
