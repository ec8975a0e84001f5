#include <quire/eviction/priority.hpp>

#include <gtest/gtest.h>

#include <limits>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaivePriority {
  static constexpr std::string_view name = "model";
  explicit NaivePriority(BlockCount) {}
  struct State {
    std::int64_t priority = 0;
    std::uint64_t expires = 0;
  };
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b});
    on_access(b, context);
  }
  void on_access(BlockId b, const BlockContext& context) {
    list.at(b).last_access = ++now;
    state.resize(std::max<std::size_t>(state.size(), b.value + 1));
    state[b.value] = {context.priority, context.duration == 0 ? 0 : now + context.duration};
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() {
    const auto priority = [this](const NaiveBlock& x) {
      const State& s = state[x.id.value];
      return s.expires != 0 && s.expires <= now ? std::numeric_limits<std::int32_t>::max()
                                                : s.priority;
    };
    return list.least([&](auto& a, auto& b) {
      const auto pa = priority(a);
      const auto pb = priority(b);
      return pa != pb ? pa > pb : a.last_access < b.last_access;
    });
  }
  NaiveList list;
  std::vector<State> state;
  std::uint64_t now = 0;
};

TEST(Priority, EqualsItsModel) { agree_with_model<eviction::Priority, NaivePriority>(); }

TEST(Priority, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Priority, NaivePriority>()), 7920u); }

TEST(Priority, TheLeastUrgentGoesFirst) {
  eviction::Priority priority(BlockCount{4});
  enter(priority, 0, {.priority = 2});
  enter(priority, 1, {.priority = 0});
  enter(priority, 2, {.priority = 2});
  enter(priority, 3, {.priority = 1});
  hit(priority, 0, {.priority = 2});
  EXPECT_EQ(evict(priority), 2);
  EXPECT_EQ(evict(priority), 0);
  EXPECT_EQ(evict(priority), 3);
  EXPECT_EQ(evict(priority), 1);
}

TEST(Priority, APriorityHoldsForItsTime) {
  eviction::Priority priority(BlockCount{4});
  const BlockContext urgent{.priority = -1, .duration = 2};
  enter(priority, 0, urgent);
  enter(priority, 1);
  EXPECT_EQ(priority.victim(), BlockId{1});
  hit(priority, 1);  // the second use since: the time is over
  EXPECT_EQ(priority.victim(), BlockId{0});
  hit(priority, 0, urgent);  // and begins again
  EXPECT_EQ(priority.victim(), BlockId{1});
}

}  // namespace
}  // namespace quire::eviction_test
