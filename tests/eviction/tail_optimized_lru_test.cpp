#include <quire/eviction/tail_optimized_lru.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveTailOptimizedLru {
  static constexpr std::string_view name = "model";
  explicit NaiveTailOptimizedLru(BlockCount, std::int64_t tokens = 1792) : spare(tokens) {}
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b, .context = context});
  }
  void on_access(BlockId b, const BlockContext& context) {
    list.move_to_back(b);
    list.at(b).context = context;
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() {
    for (auto& x : list.blocks) {
      const std::int64_t length = x.context.length.value;
      if (x.evictable && length > 0 && length - x.context.position.value <= spare) return x.id;
    }
    return list.oldest_evictable();
  }
  std::int64_t spare;
  NaiveList list;
};

TEST(TailOptimizedLru, EqualsItsModel) {
  agree_with_model<eviction::TailOptimizedLru, NaiveTailOptimizedLru>();
}

TEST(TailOptimizedLru, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::TailOptimizedLru, NaiveTailOptimizedLru>()), 7920u);
}

TEST(TailOptimizedLru, EqualsItsModelWithAShortGoal) {
  agree_with_model(
      [](BlockCount n) { return eviction::TailOptimizedLru(n, Tokens{300}, Tokens{100}); },
      [](BlockCount n) { return NaiveTailOptimizedLru(n, 200); });
}

TEST(TailOptimizedLru, TheTailOfAPromptGoesBeforeOlderHeads) {
  eviction::TailOptimizedLru tail(BlockCount{8}, Tokens{48}, Tokens{16});  // 32 tokens to spare
  for (std::uint32_t b = 0; b < 4; ++b) enter(tail, b, {.position = 16 * b, .length = 64});
  enter(tail, 4, {.position = 0, .length = 16});  // a short conversation: safe altogether
  EXPECT_EQ(evict(tail), 2);
  EXPECT_EQ(evict(tail), 3);
  EXPECT_EQ(evict(tail), 4);
  EXPECT_EQ(evict(tail), 0);
}

}  // namespace
}  // namespace quire::eviction_test
