#include <quire/eviction/recency_queues.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <quire/core/rng.hpp>

namespace quire::eviction_test {
namespace {

/// Blocks in ordered sets by the time of their arrival.
struct OrderedQueues {
  struct Block {
    std::optional<std::size_t> queue;
    bool evictable = false;
    std::uint64_t arrival = 0;
  };
  using Order = std::set<std::pair<std::uint64_t, std::uint32_t>>;

  explicit OrderedQueues(std::size_t capacity) : blocks(capacity) {}
  void erase(std::uint32_t b) {
    present[*blocks[b].queue].erase({blocks[b].arrival, b});
    offered[*blocks[b].queue].erase({blocks[b].arrival, b});
    blocks[b].queue.reset();
  }
  void append(std::size_t q, std::uint32_t b, bool evictable) {
    blocks[b] = {q, evictable, ++now};
    present[q].insert({now, b});
    if (evictable) offered[q].insert({now, b});
  }
  void set_evictable(std::uint32_t b, bool value) {
    blocks[b].evictable = value;
    const std::pair<std::uint64_t, std::uint32_t> entry{blocks[b].arrival, b};
    value ? (void)offered[*blocks[b].queue].insert(entry)
          : (void)offered[*blocks[b].queue].erase(entry);
  }
  static std::optional<BlockId> first(const Order& order) {
    return order.empty() ? std::nullopt : std::optional(BlockId{order.begin()->second});
  }

  std::vector<Block> blocks;
  std::array<Order, 2> present, offered;
  std::uint64_t now = 0;
};

/// Random operations in phases, in each of which some kinds are likely: logs full of dead entries, queues
/// of which little may go, one queue emptied into the other. Through many times round both rings.
template <std::size_t Count>
void equals_ordered_sets(std::uint32_t capacity, int steps) {
  using Queues = eviction::RecencyQueues<Count>;
  constexpr std::array ids{Queues::Queue::first, Queues::Queue::second};
  Rng rng(capacity);
  Queues queues(BlockCount{capacity});
  OrderedQueues naive(capacity);
  std::array<std::uint64_t, 5> weight{};
  for (int step = 0; step < steps; ++step) {
    if (step % (1 + static_cast<int>(capacity) * 3) == 0) {
      for (auto& w : weight) w = std::uint64_t{1} << rng.below(8);
    }
    std::uint64_t pick = rng.below(weight[0] + weight[1] + weight[2] + weight[3] + weight[4]);
    std::size_t what = 0;
    while (pick >= weight[what]) pick -= weight[what++];
    // Every other time among few, so that most of the log is dead and its live blocks are old.
    const auto b =
        static_cast<std::uint32_t>(rng.below(rng.below(2) == 0 ? capacity : 1 + capacity / 50));
    const std::size_t to = rng.below(Count);
    const auto oldest = OrderedQueues::first(naive.offered[to]);
    const bool flag = rng.below(2) == 0;
    const bool present = naive.blocks[b].queue.has_value();
    ASSERT_EQ(queues.contains(BlockId{b}), present);
    if (what == 4) {
      if (!oldest) continue;
      queues.erase(*oldest);
      naive.erase(oldest->value);
    } else if (!present) {
      queues.append(ids[to], BlockId{b}, flag);
      naive.append(to, b, flag);
    } else if (what == 0) {
      queues.erase(BlockId{b});
      naive.erase(b);
    } else if (what == 1) {
      queues.set_evictable(BlockId{b}, flag);
      naive.set_evictable(b, flag);
    } else if (what == 2 && oldest) {
      queues.set_evictable(*oldest, false);
      naive.set_evictable(oldest->value, false);
    } else if (flag && naive.blocks[b].queue != to) {
      queues.refresh(ids[to], BlockId{b});  // of the other queue: nothing happens
    } else {
      flag ? queues.refresh(ids[to], BlockId{b}) : queues.move_to_back(ids[to], BlockId{b});
      const bool evictable = naive.blocks[b].evictable;
      naive.erase(b);
      naive.append(to, b, evictable);
    }
    for (std::size_t q = 0; q < Count; ++q) {
      ASSERT_EQ(queues.size(ids[q]), naive.present[q].size()) << capacity << " " << step;
      ASSERT_EQ(queues.any_evictable(ids[q]), !naive.offered[q].empty());
      ASSERT_EQ(queues.oldest(ids[q]), OrderedQueues::first(naive.present[q]));
      ASSERT_EQ(queues.oldest_evictable(ids[q]), OrderedQueues::first(naive.offered[q]))
          << capacity << " " << step;
      const auto& order = naive.offered[q];
      const auto [next, then] = queues.prefetch_oldest(ids[q]);
      ASSERT_EQ(next, OrderedQueues::first(order));
      if (then) {
        ASSERT_NE(then, next);
        ASSERT_NE(order.find({naive.blocks[then->value].arrival, then->value}), order.end());
      }
    }
    if (!naive.blocks[b].queue) continue;
    ASSERT_EQ(queues.evictable(BlockId{b}), naive.blocks[b].evictable);
    ASSERT_EQ(queues.queue(BlockId{b}), ids[*naive.blocks[b].queue]);
  }
}

TEST(RecencyQueues, OneEqualsAnOrderedSet) {
  for (const std::uint32_t capacity : {1u, 2u, 7u, 300u}) {
    equals_ordered_sets<1>(capacity, 20000);
  }
  equals_ordered_sets<1>(5000, 300000);
}
TEST(RecencyQueues, TwoEqualTwoOrderedSets) {
  for (const std::uint32_t capacity : {1u, 2u, 7u, 300u}) {
    equals_ordered_sets<2>(capacity, 20000);
  }
  equals_ordered_sets<2>(5000, 300000);
}

// The longest run of dead entries that a log can hold lies between the oldest blocks and the rest, and the oldest
// go one after another: there is always the next one.
TEST(RecencyQueues, FindsTheNextBehindALogOfDeadEntries) {
  constexpr std::uint32_t capacity = 20000;
  eviction::RecencyQueue queue(BlockCount{capacity});
  for (std::uint32_t b = 0; b < capacity; ++b) queue.append(BlockId{b}, true);
  constexpr std::uint32_t old = capacity / 1024 + 64;  // as many as are settled anyway
  for (std::uint32_t k = 0; k < 2 * capacity; ++k) queue.move_to_back(BlockId{old + k % 3});
  for (std::uint32_t b = 0; b < capacity; ++b) {
    if (b >= old && b < old + 3) continue;  // the newest
    ASSERT_EQ(queue.oldest_evictable(), BlockId{b});
    b % 2 == 0 ? queue.erase(BlockId{b}) : queue.set_evictable(BlockId{b}, false);
  }
  EXPECT_TRUE(queue.any_evictable());
  EXPECT_TRUE(queue.oldest_evictable().has_value());
}

TEST(RecencyQueues, RefusesMoreThanASlotCanName) {
  EXPECT_THROW(eviction::RecencyQueue(BlockCount{(std::int64_t{1} << 28) + 1}), Error);
  EXPECT_THROW(eviction::RecencyQueue(BlockCount{0}), Error);
}

}  // namespace
}  // namespace quire::eviction_test
