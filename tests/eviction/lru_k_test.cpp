#include <quire/eviction/lru_k.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveLru2 {
  static constexpr std::string_view name = "model";
  explicit NaiveLru2(BlockCount capacity) : most(static_cast<std::size_t>(capacity.value)) {}
  struct Uses {
    std::uint64_t content = 0;
    std::uint64_t before = 0;
    std::uint64_t last = 0;
  };
  // count: time of the use before the last one
  void on_insert(BlockId b, const BlockContext& context) {
    std::uint64_t before = 0;
    for (const Uses& x : history)
      if (x.content == context.content) before = x.last;
    std::erase_if(history, [&](const Uses& x) { return x.content == context.content; });
    list.blocks.push_back({.id = b,
                           .count = static_cast<std::int64_t>(before),
                           .last_access = ++now,
                           .context = context});
  }
  void on_access(BlockId b, const BlockContext&) {
    list.at(b).count = static_cast<std::int64_t>(list.at(b).last_access);
    list.at(b).last_access = ++now;
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) {
    const bool evicted = victim() == b;
    const NaiveBlock gone = list.take(b);
    if (!evicted) return;
    history.push_back(
        {gone.context.content, static_cast<std::uint64_t>(gone.count), gone.last_access});
    if (history.size() > most) history.erase(history.begin());
  }
  std::optional<BlockId> victim() {
    return list.least([](auto& a, auto& b) {
      return std::pair(a.count, a.last_access) < std::pair(b.count, b.last_access);
    });
  }
  std::size_t most;
  NaiveList list;
  std::vector<Uses> history;
  std::uint64_t now = 0;
};

TEST(LruK, EqualsItsModel) { agree_with_model<eviction::LruK, NaiveLru2>(); }

TEST(LruK, GoldenHits) { EXPECT_EQ((golden_hits<eviction::LruK, NaiveLru2>()), 9829u); }

TEST(LruK, OrdersByTheSecondLastUse) {
  eviction::LruK lru2(BlockCount{4});
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(lru2, b);
  hit(lru2, 1);
  hit(lru2, 0);
  hit(lru2, 0);
  EXPECT_EQ(evict(lru2), 2);  // used once
  EXPECT_EQ(evict(lru2), 1);  // its second last use is its first, before 0's
  EXPECT_EQ(evict(lru2), 0);
}

TEST(LruK, RemembersTheUsesOfWhatItGaveUp) {
  eviction::LruK lru2(BlockCount{4});
  enter(lru2, 0, {.content = 7});
  EXPECT_EQ(evict(lru2), 0);
  enter(lru2, 1, {.content = 8});
  enter(lru2, 2, {.content = 7});  // its second use
  EXPECT_EQ(evict(lru2), 1);
}

TEST(LruK, WorksForOtherK) {
  eviction::BasicLruK<3> lru3(BlockCount{3});
  EXPECT_EQ(eviction::BasicLruK<3>::name, "lru_3");  // another policy, another name in rows
  EXPECT_EQ(eviction::LruK::name, "lru_k");
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(lru3, b);
  hit(lru3, 0);
  hit(lru3, 0);
  hit(lru3, 1);
  EXPECT_EQ(evict(lru3), 2);
  EXPECT_EQ(evict(lru3), 1);
  EXPECT_EQ(evict(lru3), 0);
}

}  // namespace
}  // namespace quire::eviction_test
