#include <quire/memory/buddy_allocator.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include <quire/core/rng.hpp>

#include "tests/common/fuzz.hpp"

namespace quire::memory_test {
namespace {

/// A buddy allocator as a bitmap: a run is any aligned stretch of free blocks; the shortest that is
/// long enough and part of no longer one is cut, at the lowest address.
struct Bitmap {
  std::vector<bool> taken;
  std::uint32_t longest;  // of a run

  Bitmap(std::uint32_t capacity, std::uint32_t max_run)
      : taken(capacity), longest(std::bit_ceil(max_run)) {}

  [[nodiscard]] bool is_free(std::uint32_t at, std::uint32_t blocks) const {
    if (at + blocks > taken.size()) return false;
    return std::none_of(taken.begin() + at, taken.begin() + at + blocks, [](bool b) { return b; });
  }
  [[nodiscard]] std::int64_t free_runs(std::uint32_t blocks) const {
    std::int64_t runs = 0;
    for (std::uint32_t at = 0; at < taken.size(); at += blocks) runs += is_free(at, blocks);
    return runs;
  }
  std::optional<BlockRun> allocate(std::uint32_t wanted) {
    const std::uint32_t blocks = std::bit_ceil(wanted);
    for (std::uint32_t size = blocks; size <= longest; size *= 2) {
      for (std::uint32_t at = 0; at < taken.size(); at += size) {
        if (!is_free(at, size)) continue;
        if (size < longest && is_free(at / (2 * size) * (2 * size), 2 * size)) continue;
        std::fill_n(taken.begin() + at, blocks, true);
        return BlockRun{BlockId{at}, blocks};
      }
    }
    return std::nullopt;
  }
  void free(BlockRun run) { std::fill_n(taken.begin() + run.first.value, run.blocks, false); }
  [[nodiscard]] std::int64_t free_blocks() const {
    return std::count(taken.begin(), taken.end(), false);
  }
};

/// How many runs one can really take.
std::int64_t runs_to_be_had(BuddyAllocator allocator, std::uint32_t blocks) {
  std::int64_t runs = 0;
  while (allocator.allocate(static_cast<std::int64_t>(blocks))) ++runs;
  return runs;
}

void agree_with_bitmap(std::uint64_t seed, std::uint32_t capacity, std::uint32_t max_run,
                       int steps) {
  Rng rng(seed);
  Bitmap naive(capacity, max_run);
  BuddyAllocator buddy(std::int64_t{capacity}, std::int64_t{max_run});
  std::vector<BlockRun> held;
  const std::uint64_t largest = 1 + rng.below(capacity + 3);
  for (int step = 0; step < steps; ++step) {
    if (held.empty() || rng.below(5) < 3) {
      const auto wanted = static_cast<std::uint32_t>(1 + rng.below(largest));
      const auto expected = naive.allocate(wanted);
      ASSERT_EQ(buddy.allocate(std::int64_t{wanted}), expected)
          << "seed " << seed << " step " << step << " wanted " << wanted;
      if (expected) held.push_back(*expected);
    } else {
      const std::size_t i = rng.below(held.size());
      buddy.free(held[i]);
      naive.free(held[i]);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
    }
    ASSERT_EQ(buddy.free_blocks().value, naive.free_blocks());
    if (step % 8 != 0) continue;
    const auto wanted = static_cast<std::uint32_t>(1 + rng.below(largest));
    const std::uint32_t blocks = std::bit_ceil(wanted);
    const std::int64_t runs = blocks > naive.longest ? 0 : naive.free_runs(blocks);
    EXPECT_EQ(runs_to_be_had(buddy, wanted), runs);
    EXPECT_TRUE(runs == 0 || buddy.fits(std::int64_t{wanted}, runs));
    EXPECT_FALSE(buddy.fits(std::int64_t{wanted}, runs + 1));
  }
  for (const BlockRun run : held) buddy.free(run);
  EXPECT_EQ(buddy.free_blocks().value, capacity);
  // All buddies have merged: the pool is cut as a new one would be.
  BuddyAllocator fresh(std::int64_t{capacity}, std::int64_t{max_run});
  for (std::uint32_t blocks = std::bit_floor(capacity); blocks > 0; blocks /= 2) {
    EXPECT_EQ(buddy.allocate(std::int64_t{blocks}), fresh.allocate(std::int64_t{blocks}));
  }
}

TEST(BuddyAllocator, EqualsABitmap) {
  const std::int64_t rounds = testing::fuzz_count(150);
  Rng rng(7);
  for (std::int64_t seed = 0; seed < rounds; ++seed) {
    const auto capacity = static_cast<std::uint32_t>(1 + rng.below(seed % 5 == 0 ? 200 : 40));
    const auto max_run = static_cast<std::uint32_t>(1 + rng.below(capacity));
    agree_with_bitmap(static_cast<std::uint64_t>(seed), capacity, max_run, 300);
    if (::testing::Test::HasFatalFailure()) FAIL() << capacity << " blocks, runs of " << max_run;
  }
  agree_with_bitmap(1, 983, 983, 600);
  agree_with_bitmap(2, 983, 128, 600);
}

TEST(BuddyAllocator, CutsACapacityThatIsNoPowerOfTwoIntoAlignedRuns) {
  BuddyAllocator buddy(983, 983);  // 512 + 256 + 128 + 64 + 16 + 4 + 2 + 1
  EXPECT_FALSE(buddy.fits(513, 1));
  EXPECT_TRUE(buddy.fits(512, 1));
  EXPECT_TRUE(buddy.fits(128, 7));  // the seven requests of Orca (Max)
  EXPECT_FALSE(buddy.fits(128, 8));
  EXPECT_EQ(buddy.allocate(512), (BlockRun{BlockId{0}, 512}));
  EXPECT_EQ(buddy.allocate(1), (BlockRun{BlockId{982}, 1}));
}

TEST(BuddyAllocator, RoundsToPowersOfTwo) {
  EXPECT_EQ(BuddyAllocator::rounded(1), BlockCount{1});
  EXPECT_EQ(BuddyAllocator::rounded(5), BlockCount{8});
  EXPECT_EQ(BuddyAllocator::rounded(64), BlockCount{64});
}

TEST(BuddyAllocator, HandsOutNothingLongerThanItsLongestRun) {
  BuddyAllocator buddy(64, 16);
  EXPECT_FALSE(buddy.allocate(17).has_value());
  EXPECT_FALSE(buddy.fits(17, 1));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(buddy.allocate(16).has_value());
  EXPECT_FALSE(buddy.allocate(1).has_value());
}

}  // namespace
}  // namespace quire::memory_test
