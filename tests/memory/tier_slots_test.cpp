#include <quire/memory/tier_slots.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/eviction/lru.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/memory/stranger.hpp"

namespace quire::memory_test {
namespace {

using LruSlots = TierSlots<eviction::Lru>;

TEST(TierSlots, CountsReferences) {
  LruSlots tier(2);
  const BlockId a = tier.allocate();
  tier.acquire(a);
  EXPECT_EQ(tier.free(), BlockCount{1});
  tier.release(a);
  EXPECT_EQ(tier.free(), BlockCount{1});
  tier.release(a);
  EXPECT_EQ(tier.free(), BlockCount{2});
}

TEST(TierSlots, MayHoldNothing) {
  LruSlots tier(0);
  EXPECT_EQ(tier.free(), BlockCount{0});
  EXPECT_EQ(tier.capacity(), BlockCount{0});
  EXPECT_FALSE(tier.victim().has_value());
}

TEST(TierSlots, ATextGoesAfterThoseThatContinueIt) {
  LruSlots tier(3);
  const BlockId parent = tier.allocate(), child = tier.allocate();
  tier.keep(parent, 0, {});
  tier.keep(child, 0, {});
  tier.add_child(parent);
  tier.release(parent);
  tier.release(child);
  EXPECT_EQ(tier.victim(), child);  // although the parent was used before it
  tier.acquire(child);
  EXPECT_FALSE(tier.victim().has_value()) << "a child in use keeps its parent";
  tier.release(child);
  tier.forget(child);
  tier.remove_child(parent);
  EXPECT_EQ(tier.victim(), parent);
  EXPECT_EQ(tier.idle(), BlockCount{1});
}

TEST(TierSlots, ATextInUseIsFreeOnceItIsForgottenAndReleased) {
  LruSlots tier(1);
  const BlockId a = tier.allocate();
  tier.keep(a, 0, {});
  tier.forget(a);
  EXPECT_EQ(tier.free(), BlockCount{0});
  tier.release(a);
  EXPECT_EQ(tier.free(), BlockCount{1});
}

TEST(TierSlots, ClaimsTheSlotsThatAnEarlierProcessFilled) {
  LruSlots tier(4);
  const std::vector<BlockId> slots{BlockId{2}, BlockId{0}};
  tier.claim(slots);
  EXPECT_EQ(tier.free(), BlockCount{2});
  EXPECT_EQ(tier.references(BlockId{2}), 1u);
  EXPECT_EQ(tier.allocate(), BlockId{1});
  EXPECT_EQ(tier.allocate(), BlockId{3});
}

TEST(TierSlots, RefusesAWrongAnswerOfAPolicy) {
  TierSlots<Stranger> tier(3);
  const BlockId used = tier.allocate(), idle = tier.allocate(), parent = tier.allocate();
  tier.keep(used, 0, {});
  tier.keep(idle, 0, {});
  tier.keep(parent, 0, {});
  tier.add_child(parent);
  tier.release(idle);
  tier.release(parent);
  for (const BlockId wrong : {used, parent, BlockId{3}, BlockId{1u << 31}}) {
    Stranger::answer = wrong;
    EXPECT_THROW((void)tier.victim(), Error);
  }
  Stranger::answer = idle;
  EXPECT_EQ(tier.victim(), idle);
}

// Against plain counters and a list in order of use.
TEST(TierSlots, EqualsANaiveModel) {
  const std::int64_t steps = testing::fuzz_count(std::int64_t{20000});
  LruSlots tier(13);
  struct Model {
    int references = 0;
    bool cached = false;
  };
  std::vector<Model> model(13);
  std::vector<std::uint32_t> order;  // cached, least recently used first
  Rng rng(5);
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto b = static_cast<std::uint32_t>(rng.below(model.size()));
    Model& m = model[b];
    const auto free = std::count_if(model.begin(), model.end(),
                                    [](const Model& x) { return x.references == 0 && !x.cached; });
    switch (rng.below(6)) {
      case 0:
        if (free > 0) {
          const BlockId slot = tier.allocate();
          ASSERT_TRUE(model[slot.value].references == 0 && !model[slot.value].cached);
          model[slot.value].references = 1;
        }
        break;
      case 1:
        if (m.references > 0 || m.cached) {
          tier.acquire(BlockId{b});
          ++m.references;
        }
        break;
      case 2:
        if (m.references > 0) {
          tier.release(BlockId{b});
          --m.references;
        }
        break;
      case 3:
        if (m.references > 0 && !m.cached) {
          tier.keep(BlockId{b}, 0, {});
          m.cached = true;
          order.push_back(b);
        }
        break;
      case 4:
        if (m.cached) {
          tier.touch(BlockId{b}, {});
          std::erase(order, b);
          order.push_back(b);
        }
        break;
      default:
        if (m.cached && rng.below(3) == 0) {
          tier.forget(BlockId{b});
          m.cached = false;
          std::erase(order, b);
        }
    }
    std::int64_t left = 0, idle = 0;
    for (const Model& x : model) {
      left += x.references == 0 && !x.cached;
      idle += x.references == 0 && x.cached;
    }
    ASSERT_EQ(tier.free().value, left);
    ASSERT_EQ(tier.idle().value, idle);
    const auto oldest = std::find_if(order.begin(), order.end(),
                                     [&](std::uint32_t s) { return model[s].references == 0; });
    const auto victim = tier.victim();
    ASSERT_EQ(victim.has_value(), oldest != order.end());
    if (victim) {
      ASSERT_EQ(victim->value, *oldest);
    }
  }
}

}  // namespace
}  // namespace quire::memory_test
