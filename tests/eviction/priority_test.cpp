#include <quire/eviction/priority.hpp>

#include <gtest/gtest.h>

#include <limits>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaivePriority {
  static constexpr std::string_view name = "model";
  using Range = eviction::Priority::Range;
  explicit NaivePriority(BlockCount, std::vector<Range> r = {}) : ranges(std::move(r)) {}
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
    state[b.value] = {context.priority, 0};
    for (const Range& range : ranges) {
      if (context.position >= range.begin && context.position < range.end) {
        state[b.value] = {range.priority, range.duration == 0 ? 0 : now + range.duration};
        break;
      }
    }
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
  std::vector<Range> ranges;
  NaiveList list;
  std::vector<State> state;
  std::uint64_t now = 0;
};

TEST(Priority, EqualsItsModel) { agree_with_model<eviction::Priority, NaivePriority>(); }

TEST(Priority, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Priority, NaivePriority>()), 7920u); }

std::vector<eviction::Priority::Range> some_ranges() {
  return {{.begin = 0, .end = 64, .priority = -5, .duration = 0},
          {.begin = 64, .end = 256, .priority = 1, .duration = 40},
          {.begin = 128, .end = 400, .priority = 0, .duration = 3}};
}

TEST(Priority, EqualsItsModelWithRangesAndDurations) {
  agree_with_model([](BlockCount n) { return eviction::Priority(n, some_ranges()); },
                   [](BlockCount n) { return NaivePriority(n, some_ranges()); });
}

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

TEST(Priority, ARangeHoldsForItsTime) {
  eviction::Priority priority(BlockCount{4}, {{.end = 16, .priority = -1, .duration = 2}});
  enter(priority, 0, {.position = 0});
  enter(priority, 1, {.position = 16});
  EXPECT_EQ(priority.victim(), BlockId{1});
  hit(priority, 1, {.position = 16});  // the second use since: the time is over
  EXPECT_EQ(priority.victim(), BlockId{0});
  hit(priority, 0, {.position = 0});  // and begins again
  EXPECT_EQ(priority.victim(), BlockId{1});
}

}  // namespace
}  // namespace quire::eviction_test
