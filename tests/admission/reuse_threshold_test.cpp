#include <quire/admission/reuse_threshold.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <utility>

#include <quire/core/rng.hpp>

namespace quire::admission_test {
namespace {

TEST(ReuseThreshold, AdmitsTheSecondRequest) {
  admission::ReuseThreshold policy(BlockCount{2});
  const BlockContext text{.content = 7};
  policy.on_request(text);
  EXPECT_FALSE(policy.admit(text, std::nullopt));
  policy.on_request({.content = 8});
  policy.on_request(text);
  EXPECT_TRUE(policy.admit(text, 8));
  EXPECT_FALSE(policy.admit({.content = 8}, std::nullopt));
}

// Eight names are tracked for two blocks: the ninth other text pushes the first one out.
TEST(ReuseThreshold, ForgetsWhatWasAskedForTooLongAgo) {
  for (const int others : {7, 8}) {
    admission::ReuseThreshold policy(BlockCount{2});
    const BlockContext text{.content = 1000};
    policy.on_request(text);
    for (std::uint64_t i = 1; i <= static_cast<std::uint64_t>(others); ++i) {
      policy.on_request({.content = i});
    }
    policy.on_request(text);
    EXPECT_EQ(policy.admit(text, std::nullopt), others == 7);
  }
}

// The names in order of their last request, with plain counts.
TEST(ReuseThreshold, EqualsItsModel) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    const std::int64_t capacity = 1 + static_cast<std::int64_t>(rng.below(20));
    admission::BasicReuseThreshold<3> policy(BlockCount{capacity});
    std::deque<std::pair<std::uint64_t, int>> names;
    for (int step = 0; step < 2000; ++step) {
      const std::uint64_t content = 1 + rng.below(static_cast<std::uint64_t>(6 * capacity));
      policy.on_request({.content = content});
      auto known = std::find_if(names.begin(), names.end(),
                                [&](const auto& n) { return n.first == content; });
      const int count = known == names.end() ? 1 : known->second + 1;
      if (known != names.end()) names.erase(known);
      names.emplace_back(content, count);
      if (static_cast<std::int64_t>(names.size()) > 4 * capacity) names.pop_front();
      ASSERT_EQ(policy.admit({.content = content}, std::nullopt), count >= 3)
          << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace quire::admission_test
