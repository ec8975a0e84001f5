#include <quire/eviction/ordered_slots.hpp>

#include <gtest/gtest.h>

#include <algorithm>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

using Slots = eviction::OrderedSlots<true>;

struct Naive : NaiveList {
  // count: marked
  std::optional<BlockId> oldest_candidate() {
    for (auto& x : blocks)
      if (x.evictable && x.count == 0) return x.id;
    return std::nullopt;
  }
  std::optional<BlockId> newest_evictable() {
    for (std::size_t i = blocks.size(); i-- > 0;)
      if (blocks[i].evictable) return blocks[i].id;
    return std::nullopt;
  }
  template <class Test>
  std::optional<BlockId> from(BlockId b, bool itself, Test test) {
    auto at = find(b);
    if (!itself) ++at;
    for (; at != blocks.end(); ++at)
      if (test(*at)) return at->id;
    return std::nullopt;
  }
};

// Every search, against a vector, through thousands of moves: many times round the ring.
TEST(OrderedSlots, EqualsAVector) {
  for (const std::uint32_t capacity : {1u, 2u, 7u, 64u, 300u, 1000u}) {
    Rng rng(capacity);
    Slots slots(BlockCount{capacity});
    Naive naive;
    const int steps = capacity > 100 ? 20000 : 10000;
    for (int step = 0; step < steps; ++step) {
      const BlockId b{static_cast<std::uint32_t>(rng.below(capacity))};
      ASSERT_EQ(slots.contains(b), naive.contains(b));
      if (!naive.contains(b)) {
        slots.append(b);
        naive.blocks.push_back({b});
      } else {
        const auto what = rng.below(16);
        if (what < 8) {
          slots.move_to_back(b);
          naive.move_to_back(b);
        } else if (what < 9) {
          slots.erase(b);
          naive.take(b);
        } else if (what < 12) {
          const bool value = rng.below(2) == 0;
          slots.set_evictable(b, value);
          naive.at(b).evictable = value;
        } else if (what < 15) {
          const bool value = rng.below(2) == 0;
          slots.set_marked(b, value);
          naive.at(b).count = value;
        } else {  // clear the marks of a range
          const BlockId c = naive.blocks[rng.below(naive.blocks.size())].id;
          const auto i = naive.find(b) - naive.blocks.begin();
          const auto j = naive.find(c) - naive.blocks.begin();
          const bool whole = rng.below(8) == 0;
          const auto first = whole ? 0 : std::min(i, j);
          const auto last =
              whole ? static_cast<std::ptrdiff_t>(naive.blocks.size()) : std::max(i, j);
          if (whole) {
            slots.unmark_evictable(std::nullopt, std::nullopt);
          } else {
            slots.unmark_evictable(naive.blocks[static_cast<std::size_t>(first)].id,
                                   naive.blocks[static_cast<std::size_t>(last)].id);
          }
          for (auto k = first; k < last; ++k) {
            NaiveBlock& x = naive.blocks[static_cast<std::size_t>(k)];
            if (x.evictable) x.count = 0;
          }
        }
      }
      ASSERT_EQ(slots.size(), naive.blocks.size());
      ASSERT_EQ(slots.oldest(),
                naive.blocks.empty() ? std::nullopt : std::optional(naive.blocks[0].id));
      ASSERT_EQ(slots.oldest_evictable(), naive.oldest_evictable()) << capacity << " " << step;
      ASSERT_EQ(slots.newest_evictable(), naive.newest_evictable()) << capacity << " " << step;
      ASSERT_EQ(slots.any_evictable(), naive.oldest_evictable().has_value());
      ASSERT_EQ(slots.oldest_candidate(), naive.oldest_candidate()) << capacity << " " << step;
      if (naive.contains(b)) {
        ASSERT_EQ(slots.evictable(b), naive.at(b).evictable);
        ASSERT_EQ(slots.marked(b), naive.at(b).count != 0);
        ASSERT_EQ(slots.newer(b), naive.from(b, false, [](auto&) { return true; }));
        ASSERT_EQ(slots.evictable_from(b),
                  naive.from(b, true, [](auto& x) { return x.evictable; }));
        ASSERT_EQ(slots.candidate_from(b),
                  naive.from(b, true, [](auto& x) { return x.evictable && x.count == 0; }));
      }
    }
  }
}

TEST(OrderedSlots, RefusesACapacityItCannotHold) {
  EXPECT_THROW(Slots(BlockCount{0}), Error);
  EXPECT_THROW(Slots(BlockCount{-1}), Error);
  EXPECT_THROW(Slots(BlockCount{std::int64_t{1} << 31}), Error);
}

}  // namespace
}  // namespace quire::eviction_test
