#include <quire/eviction/lfu_da.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveLfuDa {
  static constexpr std::string_view name = "model";
  explicit NaiveLfuDa(BlockCount) {}
  // count: frequency; context.priority: key at the last use
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b});
    on_access(b, context);
  }
  void on_access(BlockId b, const BlockContext&) {
    NaiveBlock& x = list.at(b);
    x.context.priority = static_cast<std::int32_t>(age + ++x.count);
    x.last_access = ++now;
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) {
    if (victim() == b) age = list.at(b).context.priority;
    list.take(b);
  }
  std::optional<BlockId> victim() {
    return list.least([](auto& a, auto& b) {
      return std::pair(a.context.priority, a.last_access) <
             std::pair(b.context.priority, b.last_access);
    });
  }
  NaiveList list;
  std::int64_t age = 0;
  std::uint64_t now = 0;
};

TEST(LfuDa, EqualsItsModel) { agree_with_model<eviction::LfuDa, NaiveLfuDa>(); }

TEST(LfuDa, GoldenHits) { EXPECT_EQ((golden_hits<eviction::LfuDa, NaiveLfuDa>()), 9022u); }

TEST(LfuDa, NewcomersOvertakeOldFavourites) {
  eviction::LfuDa lfu(BlockCount{2});
  enter(lfu, 0);
  hit(lfu, 0);
  hit(lfu, 0);  // key 3
  for (int i = 0; i < 2; ++i) {
    enter(lfu, 1);
    EXPECT_EQ(evict(lfu), 1);  // keys 1, 2
  }
  enter(lfu, 1);  // key 3, later
  EXPECT_EQ(evict(lfu), 0);
}

}  // namespace
}  // namespace quire::eviction_test
