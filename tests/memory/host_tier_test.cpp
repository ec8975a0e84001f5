#include <quire/memory/host_tier.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace quire::memory_test {
namespace {

TEST(HostTier, ReadsWhatWasWrittenLast) {
  HostTier tier(3, 64);
  std::vector<std::byte> a(64, std::byte{1}), b(64, std::byte{2}), got(64);
  tier.write(BlockId{0}, a);
  tier.write(BlockId{2}, a);
  tier.write(BlockId{2}, b);
  ASSERT_TRUE(tier.read(BlockId{0}, got));
  EXPECT_EQ(got, a);
  ASSERT_TRUE(tier.read(BlockId{2}, got));
  EXPECT_EQ(got, b);
  EXPECT_EQ(tier.slots(), BlockCount{3});
}

TEST(HostTier, MayHoldNothing) {
  const HostTier tier(0, 64);
  EXPECT_EQ(tier.slots(), BlockCount{0});
}

}  // namespace
}  // namespace quire::memory_test
