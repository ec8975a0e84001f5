#include <cmath>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/skip_layers.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(SkipLayersKvFormat, StoresTheFirstAndLastLayersInAnotherFormat) {
  using F = SkipLayers<Int4PerTokenHead, kv_format::Bf16, 1, 2>;
  EXPECT_EQ(token_bytes<F>(5, 1, 64), 2 * (3 * 128 + 2 * 36.0));
  model::Shape shape;
  shape.layers = 5;
  shape.kv_heads = 1;
  shape.head_dim = 64;
  Arena<F> arena(shape, 2, 16);
  EXPECT_EQ(arena.block_bytes(), 16 * 2 * (3 * 128 + 2 * 36u));
  EXPECT_EQ(arena.layer(0).codec->name, "bf16");
  EXPECT_EQ(arena.layer(1).codec->keys.load, &Int4PerTokenHead::load);
  EXPECT_EQ(arena.layer(3).base - arena.layer(2).base, 16 * 2 * 36);
  EXPECT_EQ(arena.layer(4).codec->name, "bf16");
}

}  // namespace
}  // namespace quire::testing
