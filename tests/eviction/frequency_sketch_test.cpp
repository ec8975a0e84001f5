#include <quire/eviction/frequency_sketch.hpp>

#include <gtest/gtest.h>

#include <map>

#include <quire/core/rng.hpp>

namespace quire::eviction_test {
namespace {

TEST(FrequencySketch, NeverUnderestimatesUpToItsMostBeforeAging) {
  eviction::FrequencySketch sketch(BlockCount{1000});
  std::map<std::uint64_t, std::uint32_t> truth;
  Rng rng(1);
  for (int i = 0; i < 9999; ++i) {  // one less than the period
    const std::uint64_t content = 1 + rng.below(10 + rng.below(3000));
    sketch.add(content);
    ++truth[content];
  }
  std::uint32_t exact = 0;
  for (const auto& [content, count] : truth) {
    ASSERT_GE(sketch.estimate(content), std::min(15u, count));
    exact += sketch.estimate(content) == std::min(15u, count) ? 1 : 0;
  }
  EXPECT_GT(exact, truth.size() * 8 / 10);
}

TEST(FrequencySketch, HalvesAfterTenAdditionsABlock) {
  eviction::FrequencySketch sketch(BlockCount{4});
  for (int i = 0; i < 12; ++i) sketch.add(1);
  for (int i = 0; i < 27; ++i) sketch.add(static_cast<std::uint64_t>(2));
  EXPECT_EQ(sketch.estimate(1), 12u);
  EXPECT_EQ(sketch.estimate(2), 15u);
  sketch.add(2);  // the fortieth
  EXPECT_EQ(sketch.estimate(1), 6u);
  EXPECT_EQ(sketch.estimate(2), 7u);
  for (int i = 0; i < 20; ++i) sketch.add(2);  // the count went back to twenty
  EXPECT_EQ(sketch.estimate(1), 3u);
}

TEST(FrequencySketch, DoesNotCountTheUnknown) {
  eviction::FrequencySketch sketch(BlockCount{4});
  sketch.add(0);
  EXPECT_EQ(sketch.estimate(0), 0u);
}

}  // namespace
}  // namespace quire::eviction_test
