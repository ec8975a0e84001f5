#include <quire/eviction/lfu.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveLfu {
  static constexpr std::string_view name = "model";
  explicit NaiveLfu(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) {
    list.blocks.push_back({.id = b, .count = 1, .last_access = ++now});
  }
  void on_access(BlockId b, const BlockContext&) {
    ++list.at(b).count;
    list.at(b).last_access = ++now;
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() {
    return list.least([](auto& a, auto& b) {
      return std::pair(a.count, a.last_access) < std::pair(b.count, b.last_access);
    });
  }
  NaiveList list;
  std::uint64_t now = 0;
};

TEST(Lfu, EqualsItsModel) { agree_with_model<eviction::Lfu, NaiveLfu>(); }

TEST(Lfu, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Lfu, NaiveLfu>()), 9770u); }

TEST(Lfu, OrdersByCountThenByLastAccess) {
  eviction::Lfu lfu(BlockCount{4});
  for (const std::uint32_t b : {0u, 1u, 2u, 3u}) enter(lfu, b);
  hit(lfu, 0);
  hit(lfu, 0);
  hit(lfu, 2);
  hit(lfu, 1);
  EXPECT_EQ(evict(lfu), 3);
  EXPECT_EQ(evict(lfu), 2);  // as often as 1, but longer ago
  enter(lfu, 3);             // its past is forgotten
  EXPECT_EQ(evict(lfu), 3);
  EXPECT_EQ(evict(lfu), 1);
}

}  // namespace
}  // namespace quire::eviction_test
