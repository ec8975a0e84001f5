#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>

namespace quire::kv_format {
namespace {

model::Shape shape() {
  model::Shape s;
  s.layers = 3;
  s.kv_heads = 2;
  s.head_dim = 8;
  return s;
}

TEST(Arena, SlabsDoNotOverlapAndBlocksCopyWhole) {
  Arena<Fp32> a(shape(), 4, 4), b(shape(), 2, 4);
  EXPECT_EQ(a.block_bytes(), 3u * 2u * 2u * 128u);
  std::vector<float> values(8);
  float next = 1;
  auto each = [&](Arena<Fp32>& arena, BlockId block, auto&& f) {
    for (std::size_t l = 0; l < 3; ++l) {
      for (std::size_t h = 0; h < 2; ++h) {
        for (std::size_t t = 0; t < 4; ++t) {
          f(arena.layer(l).keys(block, h), t);
          f(arena.layer(l).values(block, h), t);
        }
      }
    }
  };
  for (std::uint32_t block = 0; block < 4; ++block) {
    each(a, {block}, [&](std::byte* slab, std::size_t t) {
      for (float& v : values) v = next++;
      Fp32::store(slab, 4, 8, t, values.data());
    });
  }
  next = 1;
  for (std::uint32_t block = 0; block < 4; ++block) {
    each(a, {block}, [&](std::byte* slab, std::size_t t) {
      Fp32::load(slab, 4, 8, t, values.data());
      for (float v : values) ASSERT_EQ(v, next++);
    });
  }
  copy_block(a, {2}, b, {1});
  next = 1 + 2 * 3 * 2 * 4 * 2 * 8;
  each(b, {1}, [&](std::byte* slab, std::size_t t) {
    Fp32::load(slab, 4, 8, t, values.data());
    for (float v : values) ASSERT_EQ(v, next++);
  });
}

TEST(Arena, PoisonIsNaNEverywhere) {
  Arena<Bf16> a(shape(), 2, 4);
  a.poison();
  std::vector<float> values(8);
  for (std::size_t l = 0; l < 3; ++l) {
    for (std::size_t t = 0; t < 4; ++t) {
      Bf16::load(a.layer(l).values({1}, 1), 4, 8, t, values.data());
      for (float v : values) EXPECT_TRUE(std::isnan(v));
    }
  }
}

/// A stranger's format that rounds to no whole lines.
struct Unaligned : Fp32 {
  static constexpr std::string_view name = "unaligned";
  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return block_tokens * head_dim * 4 + 4;
  }
};

TEST(Arena, RefusesSlabsThatEndWithinALine) {
  EXPECT_THROW((Arena<Unaligned>(shape(), 4, 4)), Error);
}

TEST(Arena, RefusesASizeThatOverflows) {
  EXPECT_THROW((Arena<Fp32>(shape(), std::int64_t{1} << 62, 16)), Error);
}

}  // namespace
}  // namespace quire::kv_format
