#include <cmath>
#include <span>
#include <vector>

#include <quire/attention/kv_view.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/before_rotation.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/kivi.hpp>
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
  EXPECT_EQ(arena.layer(1).codec->keys.load, codec_of<Int4PerTokenHead>().keys.load);
  EXPECT_EQ(arena.layer(3).base - arena.layer(2).base, 16 * 2 * 36);
  EXPECT_EQ(arena.layer(4).codec->name, "bf16");
}

/// Writes `tokens` tokens of a sequence into an arena, one a step, each channel of each a number of its
/// own, and gives back the greatest error of what lies packed.
template <class F>
double written_and_packed(std::size_t tokens, std::size_t packed_layer) {
  model::Shape shape;
  shape.layers = 2;
  shape.kv_heads = 1;
  shape.head_dim = 32;
  Arena<F> arena(shape, 4, 32);
  arena.poison();
  const std::vector<BlockId> blocks{{2}, {0}, {3}};
  ThreadPool threads(1);
  std::vector<float> token(32);
  const auto value = [](std::size_t t, std::size_t i) {
    return static_cast<float>(std::sin(0.3 * static_cast<double>(t) + static_cast<double>(i)));
  };
  for (std::size_t t = 0; t < tokens; ++t) {
    const attention::SequenceRows row{0, 1, static_cast<std::int64_t>(t), blocks};
    for (std::size_t i = 0; i < token.size(); ++i) token[i] = value(t, i);
    arena.begin(std::span(&row, 1));
    for (std::size_t l = 0; l < 2; ++l) {
      attention::write_kv<F>(arena.layer(l), std::span(&row, 1), token.data(), token.data(), 32,
                             threads);
    }
    arena.end(std::span(&row, 1));
  }
  const auto view = arena.layer(packed_layer);
  double worst = 0;
  for (std::size_t t = 0; t < tokens / 32 * 32; ++t) {
    for (const auto side : {OpenBlocks::keys, OpenBlocks::values}) {
      const SideCodec& codec = side == OpenBlocks::keys ? view.codec->keys : view.codec->values;
      codec.read(
          nullptr,
          side == OpenBlocks::keys ? view.keys(blocks[t / 32], 0) : view.values(blocks[t / 32], 0),
          32, 32, t % 32, token.data());
      for (std::size_t i = 0; i < 32; ++i) {
        const double error = std::abs(token[i] - value(t, i));
        worst = error <= worst ? worst : error;  // NaN counts
      }
    }
  }
  return worst;
}

// Either of the two may pack its tokens later than they come.
TEST(SkipLayersKvFormat, PacksWhicheverLayersWaitForTheirGroup) {
  using LaterInSkipped = SkipLayers<Int4PerTokenHead, Kivi<4, 32, 32>, 1, 0>;
  using LaterInRest = SkipLayers<Kivi<4, 32, 32>, Int4PerTokenHead, 1, 0>;
  static_assert(keeps_open_blocks<LaterInSkipped> && keeps_open_blocks<LaterInRest>);
  static_assert(!divides_block<LaterInSkipped>(16));
  for (const std::size_t layer : {0, 1}) {
    EXPECT_LT(written_and_packed<LaterInSkipped>(70, layer), 0.2) << layer;
    EXPECT_LT(written_and_packed<LaterInRest>(70, layer), 0.2) << layer;
  }
  static_assert(
      stores_before_rotation<SkipLayers<Int4PerTokenHead, BeforeRotation<Int8PerTokenHead>, 1, 0>>);
}

TEST(SkipLayersKvFormat, RefusesTwoFormatsThatPackAtDifferentTimes) {
  model::Shape shape;
  shape.layers = 2;
  shape.kv_heads = 1;
  shape.head_dim = 32;
  using F = SkipLayers<Kivi<4, 32, 32>, Kivi<4, 32, 128>, 1, 0>;
  EXPECT_THROW((Arena<F>(shape, 4, 32)), Error);
}

}  // namespace
}  // namespace quire::testing
