#include <quire/eviction/evictable_set.hpp>

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace quire::eviction_test {
namespace {

TEST(EvictableSet, HoldsWhatWasAdded) {
  eviction::EvictableSet set(BlockCount{50});
  std::set<std::uint32_t> naive;
  Rng rng(2);
  for (int i = 0; i < 3000; ++i) {
    const auto b = static_cast<std::uint32_t>(rng.below(50));
    ASSERT_EQ(set.contains(BlockId{b}), naive.contains(b));
    if (naive.contains(b)) {
      set.remove(BlockId{b});
      naive.erase(b);
    } else {
      set.add(BlockId{b});
      naive.insert(b);
    }
    ASSERT_EQ(set.size(), naive.size());
    if (!naive.empty()) {
      ASSERT_TRUE(naive.contains(set.pick(rng()).value));
      const auto least = set.least(
          64, 0, 0, [](BlockId x) { return x.value; }, [&set](BlockId) { return &set; });
      ASSERT_EQ(least->value, *naive.begin());  // all are compared
    }
  }
}

TEST(EvictableSet, DrawsEveryMemberAboutEquallyOften) {
  eviction::EvictableSet set(BlockCount{10});
  for (std::uint32_t b = 0; b < 10; ++b) set.add(BlockId{b});
  std::map<std::uint32_t, int> drawn;
  for (std::uint64_t i = 0; i < 10000; ++i) ++drawn[set.pick(counter_bits(1, 2, i)).value];
  for (const auto& [b, count] : drawn) EXPECT_NEAR(count, 1000, 150) << b;
}

}  // namespace
}  // namespace quire::eviction_test
