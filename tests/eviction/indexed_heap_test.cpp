#include <quire/eviction/indexed_heap.hpp>

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include <quire/core/rng.hpp>

namespace quire::eviction_test {
namespace {

TEST(IndexedHeap, EqualsASet) {
  for (const std::uint32_t capacity : {1u, 2u, 8u, 9u, 64u, 65u, 73u, 74u, 600u}) {
    Rng rng(capacity);
    eviction::IndexedHeap<std::uint64_t> heap(BlockCount{capacity});
    std::set<std::pair<std::uint64_t, std::uint32_t>> set;
    std::vector<std::uint64_t> key_of(capacity);
    for (int step = 0; step < 5000; ++step) {
      const auto i = static_cast<std::uint32_t>(rng.below(capacity));
      const std::uint64_t key = rng.below(1000) * capacity + i;  // distinct
      const bool present = heap.contains(BlockId{i});
      ASSERT_EQ(present, set.contains({key_of[i], i}));
      if (!present) {
        heap.push(BlockId{i}, key);
        set.insert({key, i});
        key_of[i] = key;
      } else if (rng.below(3) == 0) {
        heap.erase(BlockId{i});
        set.erase({key_of[i], i});
      } else {
        heap.update(BlockId{i}, key);
        set.erase({key_of[i], i});
        set.insert({key, i});
        key_of[i] = key;
        ASSERT_EQ(heap.key(BlockId{i}), key);
      }
      ASSERT_EQ(heap.size(), set.size());
      if (set.empty()) {
        ASSERT_FALSE(heap.top());
      } else {
        ASSERT_EQ(heap.top()->value, set.begin()->second) << capacity << " " << step;
      }
    }
  }
}

}  // namespace
}  // namespace quire::eviction_test
