#include <quire/memory/prefix_pins.hpp>

#include <gtest/gtest.h>

#include <map>

namespace quire::memory_test {
namespace {

/// Counts pins.
struct Counts {
  std::map<std::uint32_t, std::uint32_t> count;
  [[nodiscard]] std::uint32_t pins(BlockId b) const {
    return count.contains(b.value) ? count.at(b.value) : 0;
  }
  [[nodiscard]] BlockCount pinned() const {
    std::int64_t n = 0;
    for (const auto& [_, pins] : count) n += pins > 0;
    return n;
  }
  void pin(BlockId b) { ++count[b.value]; }
  void unpin(BlockId b) { --count[b.value]; }
};

TEST(PrefixPins, GoWhenTheirTimeComesAndNoSooner) {
  Counts pool;
  PrefixPins pins(BlockCount{20});
  const std::vector<BlockId> one{BlockId{0}}, both{BlockId{0}, BlockId{1}};
  EXPECT_FALSE(pins.add(pool, {}, std::nullopt).has_value());
  ASSERT_TRUE(pins.add(pool, one, Seconds{3.0}).has_value());
  const auto good = pins.add(pool, both, std::nullopt);
  ASSERT_TRUE(good.has_value());
  ASSERT_TRUE(pins.add(pool, both, Seconds{2.0}).has_value());
  EXPECT_EQ(pool.pins(BlockId{0}), 3u);
  pins.expire(pool, 1.0);
  EXPECT_EQ(pins.size(), 3u);
  pins.expire(pool, 2.0);
  EXPECT_EQ(pins.size(), 2u);
  pins.expire(pool, 3.0);
  EXPECT_EQ(pins.size(), 1u);
  EXPECT_EQ(pool.pins(BlockId{0}), 1u);
  pins.unpin_limited(pool);
  EXPECT_EQ(pins.size(), 1u);
  EXPECT_TRUE(pins.remove(pool, *good));
  EXPECT_FALSE(pins.remove(pool, *good));
  EXPECT_EQ(pool.pinned(), BlockCount{0});
}

TEST(PrefixPins, TakeAtMostAFifthOfThePool) {
  Counts pool;
  PrefixPins pins(BlockCount{10});
  const std::vector<BlockId> two{BlockId{0}, BlockId{1}}, three{BlockId{0}, BlockId{1}, BlockId{2}};
  EXPECT_FALSE(pins.add(pool, three, std::nullopt).has_value());
  EXPECT_TRUE(pins.add(pool, two, std::nullopt).has_value());
  EXPECT_TRUE(pins.add(pool, two, std::nullopt).has_value());  // the same blocks again
  EXPECT_FALSE(pins.add(pool, three, std::nullopt).has_value());
  EXPECT_EQ(pool.pinned(), BlockCount{2});
}

}  // namespace
}  // namespace quire::memory_test
