#include <quire/retention/quest.hpp>

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

TEST(Quest, ChoosesTheHighestBoundsAndTheLastPage) {
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    Rng rng(seed);
    const std::size_t pages = 1 + rng.below(30);
    const auto want = static_cast<std::int64_t>(1 + rng.below(32));
    const retention::Quest policy({.budget = want * 16 + 3, .dense_layers = 0}, 16);
    std::vector<float> bounds(pages);
    for (float& b : bounds) b = static_cast<float>(rng.below(5));
    std::vector<std::uint32_t> chosen;
    policy.choose(bounds, chosen);
    std::set<std::uint32_t> naive{static_cast<std::uint32_t>(pages - 1)};
    while (std::ssize(naive) < want && naive.size() < pages) {
      std::size_t best = pages;
      for (std::size_t p = 0; p < pages; ++p) {
        if (naive.contains(static_cast<std::uint32_t>(p))) continue;
        if (best == pages || bounds[p] >= bounds[best]) best = p;
      }
      naive.insert(static_cast<std::uint32_t>(best));
    }
    EXPECT_EQ(std::vector<std::uint32_t>(naive.begin(), naive.end()), chosen) << seed;
    EXPECT_EQ(policy.attends_to_all(0, pages), std::ssize(bounds) <= want);
  }
}

TEST(Quest, ABoundIsNeverBelowAKeysScore) {
  Rng rng(7);
  for (int trial = 0; trial < 200; ++trial) {
    constexpr std::size_t dims = 12, keys = 5;
    std::vector<float> q(dims), low(dims, 9), high(dims, -9);
    std::vector<std::vector<float>> page(keys, std::vector<float>(dims));
    for (float& x : q) x = static_cast<float>(rng.uniform() - 0.5);
    for (auto& key : page) {
      for (std::size_t i = 0; i < dims; ++i) {
        key[i] = static_cast<float>(rng.uniform() - 0.5);
        low[i] = std::min(low[i], key[i]);
        high[i] = std::max(high[i], key[i]);
      }
    }
    const float bound = retention::Quest::bound(q, low.data(), high.data());
    for (const auto& key : page) {
      float score = 0;
      for (std::size_t i = 0; i < dims; ++i) score += q[i] * key[i];
      EXPECT_LE(score, bound + 1e-6f);
    }
  }
}

TEST(Quest, FirstLayersAttendToAll) {
  const retention::Quest policy({.budget = 16, .dense_layers = 2}, 16);
  EXPECT_TRUE(policy.attends_to_all(1, 100));
  EXPECT_FALSE(policy.attends_to_all(2, 100));
}

}  // namespace
}  // namespace quire::retention_test
