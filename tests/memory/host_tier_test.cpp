#include <quire/memory/host_tier.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <quire/core/rng.hpp>

#include "tests/common/fuzz.hpp"

namespace quire::memory_test {
namespace {

TEST(HostTier, CountsReferences) {
  HostTier tier(2);
  const BlockId a = tier.allocate();
  tier.acquire(a);
  EXPECT_EQ(tier.free(), BlockCount{1});
  tier.release(a);
  EXPECT_EQ(tier.free(), BlockCount{1});
  tier.release(a);
  EXPECT_EQ(tier.free(), BlockCount{2});
}

TEST(HostTier, EqualsCounters) {
  const std::int64_t steps = testing::fuzz_count(20000);
  HostTier tier(13);
  std::vector<int> count(13);
  Rng rng(5);
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto b = static_cast<std::uint32_t>(rng.below(count.size()));
    const bool full = std::count(count.begin(), count.end(), 0) == 0;
    if (rng.below(3) == 0 && !full) {
      const BlockId block = tier.allocate();
      ASSERT_EQ(count[block.value]++, 0) << "a block in use was handed out";
    } else if (count[b] > 0 && rng.below(2) == 0) {
      tier.acquire(BlockId{b});
      ++count[b];
    } else if (count[b] > 0) {
      tier.release(BlockId{b});
      --count[b];
    }
    ASSERT_EQ(tier.free().value, std::count(count.begin(), count.end(), 0));
  }
}

TEST(HostTier, MayHoldNothing) {
  const HostTier tier(0);
  EXPECT_EQ(tier.free(), BlockCount{0});
  EXPECT_EQ(tier.capacity(), BlockCount{0});
}

}  // namespace
}  // namespace quire::memory_test
