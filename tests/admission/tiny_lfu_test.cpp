#include <quire/admission/tiny_lfu.hpp>

#include <gtest/gtest.h>

#include <map>

#include <quire/core/rng.hpp>

namespace quire::admission_test {
namespace {

TEST(TinyLfu, AdmitsWhatIsAskedForMoreOftenThanItsRival) {
  admission::TinyLfu policy(BlockCount{100});
  for (int i = 0; i < 3; ++i) policy.on_request({.content = 1});
  policy.on_request({.content = 2});
  EXPECT_TRUE(policy.admit({.content = 2}, std::nullopt));  // there is room
  EXPECT_FALSE(policy.admit({.content = 2}, 1));
  EXPECT_TRUE(policy.admit({.content = 1}, 2));
  for (int i = 0; i < 2; ++i) policy.on_request({.content = 2});
  EXPECT_FALSE(policy.admit({.content = 2}, 1));  // as often is not more often
  policy.on_request({.content = 2});
  EXPECT_TRUE(policy.admit({.content = 2}, 1));
}

// While no counter has been halved and few texts share a line, the sketch counts exactly up to 15.
TEST(TinyLfu, EqualsExactCountsWhileTheSketchIsSparse) {
  Rng rng(4);
  admission::TinyLfu policy(BlockCount{100000});
  std::map<std::uint64_t, int> counts;
  int differ = 0;
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t content = 1 + rng.below(3000);
    const std::uint64_t rival = 1 + rng.below(3000);
    policy.on_request({.content = content});
    counts[content] = std::min(counts[content] + 1, 15);
    differ += policy.admit({.content = content}, rival) != (counts[content] > counts[rival]);
  }
  EXPECT_LT(differ, 20);
}

}  // namespace
}  // namespace quire::admission_test
