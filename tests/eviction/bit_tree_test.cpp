#include <quire/eviction/bit_tree.hpp>

#include <gtest/gtest.h>

#include <set>

#include <quire/core/rng.hpp>

namespace quire::eviction_test {
namespace {

TEST(BitTree, EqualsASet) {
  using eviction::BitTree;
  for (const std::size_t bits : {1u, 63u, 64u, 65u, 4096u, 4097u, 300000u}) {
    Rng rng(bits);
    BitTree tree(bits);
    std::set<std::size_t> set;
    for (int step = 0; step < 4000; ++step) {
      const std::size_t i = rng.below(bits);
      switch (rng.below(3)) {
        case 0:
          tree.clear(i);
          set.erase(i);
          break;
        case 1:
          if (!set.empty()) {
            const auto first = *set.begin();
            tree.clear(first);
            set.erase(first);
          }
          break;
        default:
          tree.set(i);
          set.insert(i);
      }
      ASSERT_EQ(tree.any(), !set.empty());
      const std::size_t j = rng.below(bits);
      ASSERT_EQ(tree.test(j), set.contains(j));
      const auto next = set.lower_bound(j);
      ASSERT_EQ(tree.next(j), next == set.end() ? BitTree::npos : *next);
      const auto after = set.upper_bound(j);
      ASSERT_EQ(tree.prev(j), after == set.begin() ? BitTree::npos : *std::prev(after));
    }
  }
}

}  // namespace
}  // namespace quire::eviction_test
