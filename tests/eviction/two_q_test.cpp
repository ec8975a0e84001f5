#include <quire/eviction/two_q.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveTwoQ {
  static constexpr std::string_view name = "model";
  explicit NaiveTwoQ(BlockCount capacity)
      : in_most(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 4))),
        out_most(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 2))) {}
  NaiveList& of(BlockId b) { return am.contains(b) ? am : a1in; }
  void on_insert(BlockId b, const BlockContext& context) {
    const bool known = std::erase(a1out, context.content) > 0;
    (known ? am : a1in).blocks.push_back({.id = b, .context = context});
  }
  void on_access(BlockId b, const BlockContext&) {
    if (am.contains(b)) am.move_to_back(b);
  }
  void set_evictable(BlockId b, bool value) { of(b).at(b).evictable = value; }
  void on_remove(BlockId b) {
    const bool evicted = victim() == b;
    const bool from_a1in = a1in.contains(b);
    const NaiveBlock gone = of(b).take(b);
    if (!evicted || !from_a1in) return;
    a1out.push_back(gone.context.content);
    if (a1out.size() > out_most) a1out.erase(a1out.begin());
  }
  std::optional<BlockId> victim() {
    if (a1in.blocks.size() > in_most && a1in.oldest_evictable()) return a1in.oldest_evictable();
    if (am.oldest_evictable()) return am.oldest_evictable();
    return a1in.oldest_evictable();
  }
  std::size_t in_most;
  std::size_t out_most;
  NaiveList a1in;
  NaiveList am;
  std::vector<std::uint64_t> a1out;
};

TEST(TwoQ, EqualsItsModel) { agree_with_model<eviction::TwoQ, NaiveTwoQ>(); }

TEST(TwoQ, GoldenHits) { EXPECT_EQ((golden_hits<eviction::TwoQ, NaiveTwoQ>()), 9478u); }

TEST(TwoQ, WhatIsWantedAgainAfterA1inEntersAm) {
  eviction::TwoQ two_q(BlockCount{8});  // A1in: 2, A1out: 4
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(two_q, b, {.content = 10 + b});
  hit(two_q, 0);                     // no effect: correlated
  EXPECT_EQ(evict(two_q), 0);        // three in A1in: the oldest goes, its name to A1out
  enter(two_q, 0, {.content = 10});  // remembered: Am
  enter(two_q, 3, {.content = 13});
  EXPECT_EQ(evict(two_q), 1);
  EXPECT_EQ(evict(two_q), 0);  // A1in is at its share: Am's turn, which leaves no name
  enter(two_q, 0, {.content = 10});
  EXPECT_EQ(evict(two_q), 2);
}

}  // namespace
}  // namespace quire::eviction_test
