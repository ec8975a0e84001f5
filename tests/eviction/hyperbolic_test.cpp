#include <quire/eviction/hyperbolic.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveHyperbolic {
  static constexpr std::string_view name = "model";
  explicit NaiveHyperbolic(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) {
    list.blocks.push_back({.id = b, .count = 1, .last_access = ++now});  // when it entered
  }
  void on_access(BlockId b, const BlockContext&) {
    ++now;
    ++list.at(b).count;
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
      return std::pair(static_cast<double>(x.count) / static_cast<double>(now - x.last_access + 1),
                       x.last_access);
    });
  }
  NaiveList list;
  NaiveSample sample;
  std::uint64_t now = 0;
};

TEST(Hyperbolic, EqualsItsModel) { agree_with_model<eviction::Hyperbolic, NaiveHyperbolic>(); }

TEST(Hyperbolic, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::Hyperbolic, NaiveHyperbolic>()), 8453u);
}

TEST(Hyperbolic, ANewcomerIsNotPunishedForItsAge) {
  eviction::Hyperbolic hyperbolic(BlockCount{3});
  enter(hyperbolic, 0);
  for (int i = 0; i < 8; ++i) hit(hyperbolic, 0);
  enter(hyperbolic, 1);
  for (int i = 0; i < 10; ++i) hit(hyperbolic, 0);
  enter(hyperbolic, 2);
  EXPECT_EQ(evict(hyperbolic), 1);  // 1 use in 12; 0 has 19 in 21, 2 has 1 in 1
  EXPECT_EQ(evict(hyperbolic), 0);
}

}  // namespace
}  // namespace quire::eviction_test
