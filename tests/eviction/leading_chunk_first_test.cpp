#include <quire/eviction/leading_chunk_first.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveLeadingChunkFirst {
  static constexpr std::string_view name = "model";
  explicit NaiveLeadingChunkFirst(BlockCount) {}
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b, .last_access = ++now, .context = context});
  }
  void on_access(BlockId b, const BlockContext& context) {
    list.at(b).last_access = ++now;
    list.at(b).context = context;
  }
  void set_evictable(BlockId b, bool value) { sample.set(b, value); }
  void on_remove(BlockId b) {
    list.take(b);
    sample.set(b, false);
    ++sample.draw;
  }
  std::optional<BlockId> victim() {
    return sample.least([this](BlockId b) {
      const NaiveBlock& x = list.at(b);
      const double cost = x.context.recompute == Flops{0.0}
                              ? static_cast<double>(x.context.position.value + 1)
                              : x.context.recompute.value;
      return std::pair(cost / static_cast<double>(now - x.last_access + 1), x.last_access);
    });
  }
  NaiveList list;
  NaiveSample sample;
  std::uint64_t now = 0;
};

TEST(LeadingChunkFirst, EqualsItsModel) {
  agree_with_model<eviction::LeadingChunkFirst, NaiveLeadingChunkFirst>();
}

TEST(LeadingChunkFirst, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::LeadingChunkFirst, NaiveLeadingChunkFirst>()), 7926u);
}

TEST(LeadingChunkFirst, OfEquallyOldTheLeadingChunkGoes) {
  eviction::LeadingChunkFirst leading(BlockCount{4});
  enter(leading, 0, {.recompute = 9.0});
  enter(leading, 1, {.recompute = 2.0});
  enter(leading, 2, {.recompute = 5.0});
  EXPECT_EQ(evict(leading), 1);  // 9/3, 2/2, 5/1
  for (int i = 0; i < 7; ++i) hit(leading, 2, {.recompute = 5.0});
  EXPECT_EQ(evict(leading), 0);  // 9/10 against 5/1: long unused
}

}  // namespace
}  // namespace quire::eviction_test
