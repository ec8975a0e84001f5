#include <quire/eviction/ghost_list.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include <quire/core/rng.hpp>

namespace quire::eviction_test {
namespace {

TEST(GhostList, EqualsAVector) {
  for (const int capacity : {0, 1, 2, 5, 100}) {
    Rng rng(static_cast<std::uint64_t>(capacity));
    eviction::GhostList ghosts(BlockCount{capacity});
    std::vector<std::uint64_t> vector;  // oldest first
    for (int step = 0; step < 5000; ++step) {
      const std::uint64_t content = rng.below(static_cast<std::uint64_t>(2 * capacity + 2));
      const bool present = std::find(vector.begin(), vector.end(), content) != vector.end();
      ASSERT_EQ(ghosts.contains(content), present);
      switch (rng.below(4)) {
        case 0:
          ASSERT_EQ(ghosts.erase(content), present);
          std::erase(vector, content);
          break;
        case 1:
          ghosts.pop_oldest();
          if (!vector.empty()) vector.erase(vector.begin());
          break;
        default:
          ghosts.push(content);
          if (content == 0) break;  // unknown content is not remembered
          std::erase(vector, content);
          vector.push_back(content);
          if (static_cast<int>(vector.size()) > capacity) vector.erase(vector.begin());
      }
      ASSERT_EQ(ghosts.size(), vector.size());
      ASSERT_EQ(ghosts.oldest(), vector.empty() ? std::nullopt : std::optional(vector.front()));
    }
  }
}

}  // namespace
}  // namespace quire::eviction_test
