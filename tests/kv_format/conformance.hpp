#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/concepts.hpp>

namespace quire::testing {

/// What every KV format promises.
/// - A slab is a whole number of 64-byte lines and large enough for its tokens.
/// - What is stored in a slot is read back from it, within the format's error; other slots keep
///   their content, in whatever order tokens arrive.
/// - Nothing is written outside the slab.
/// - A copy of a slab's bytes is a copy of its content (swaps and copy-on-write are memcpy).
template <class Format>
class KvFormatConformance : public ::testing::Test {
 public:
  static constexpr std::size_t block_tokens = 16;

  static std::vector<float> token(std::size_t head_dim, std::uint64_t seed) {
    Rng rng(seed);
    std::vector<float> v(head_dim);
    for (float& x : v) x = static_cast<float>(rng.normal());
    return v;
  }
};
TYPED_TEST_SUITE_P(KvFormatConformance);

TYPED_TEST_P(KvFormatConformance, SlabsAreWholeLines) {
  for (std::size_t tokens : std::initializer_list<std::size_t>{1, 2, 16, 256}) {
    for (std::size_t dim : std::initializer_list<std::size_t>{1, 5, 64, 80, 128, 256}) {
      const std::size_t bytes = TypeParam::slab_bytes(tokens, dim);
      EXPECT_EQ(bytes % 64, 0u);
      EXPECT_GE(static_cast<double>(bytes) + 1e-9,
                static_cast<double>(tokens) * TypeParam::token_bytes(dim));
    }
  }
}

TYPED_TEST_P(KvFormatConformance, SlotsKeepTheirTokens) {
  constexpr std::size_t tokens = TestFixture::block_tokens;
  for (std::size_t dim : std::initializer_list<std::size_t>{8, 20, 64, 128}) {
    const std::size_t bytes = TypeParam::slab_bytes(tokens, dim);
    AlignedArray<std::byte> memory(bytes + 128), copy(bytes);
    std::byte* slab = memory.data() + 64;
    std::memset(memory.data(), 0x5a, bytes + 128);
    const std::size_t order[] = {3, 0, 15, 7, 1, 2, 14, 8, 4, 5, 13, 6, 9, 12, 10, 11};
    for (std::size_t slot : order) {
      TypeParam::store(slab, tokens, dim, slot, this->token(dim, slot).data());
    }
    std::memcpy(copy.data(), slab, bytes);
    for (std::size_t slot = 0; slot < tokens; ++slot) {
      const auto want = this->token(dim, slot);
      std::vector<float> got(dim), again(dim);
      TypeParam::load(slab, tokens, dim, slot, got.data());
      TypeParam::load(copy.data(), tokens, dim, slot, again.data());
      EXPECT_EQ(got, again);
      double error = 0, size = 0;
      for (std::size_t i = 0; i < dim; ++i) {
        error += std::pow(static_cast<double>(got[i] - want[i]), 2);
        size += std::pow(static_cast<double>(want[i]), 2);
      }
      EXPECT_LT(std::sqrt(error / size), 0.15) << TypeParam::name << " slot " << slot;
    }
    for (std::size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(memory[i], std::byte{0x5a});
      EXPECT_EQ(memory[64 + bytes + i], std::byte{0x5a});
    }
  }
}

TYPED_TEST_P(KvFormatConformance, ZeroIsExact) {
  constexpr std::size_t tokens = TestFixture::block_tokens, dim = 32;
  AlignedArray<std::byte> slab(TypeParam::slab_bytes(tokens, dim));
  const std::vector<float> zeros(dim, 0.0f);
  std::vector<float> got(dim, 1.0f);
  TypeParam::store(slab.data(), tokens, dim, 2, zeros.data());
  TypeParam::load(slab.data(), tokens, dim, 2, got.data());
  EXPECT_EQ(got, zeros);
}

REGISTER_TYPED_TEST_SUITE_P(KvFormatConformance, SlabsAreWholeLines, SlotsKeepTheirTokens,
                            ZeroIsExact);

}  // namespace quire::testing
