#include <quire/eviction/two_queues.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include <quire/core/rng.hpp>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

using Queues = eviction::TwoQueues<std::uint16_t>;
static_assert(sizeof(Queues::Block) == 8, "a small note costs no more than the place's alignment");

// Every operation, against two vectors, through many times round both rings.
TEST(TwoQueues, EqualTwoVectors) {
  constexpr std::array ids{Queues::Queue::first, Queues::Queue::second};
  for (const std::uint32_t capacity : {1u, 2u, 7u, 300u}) {
    Rng rng(capacity);
    Queues queues(BlockCount{capacity});
    std::array<NaiveList, 2> naive;  // count: marked
    std::vector<std::uint16_t> notes(capacity);
    for (int step = 0; step < 20000; ++step) {
      const BlockId b{static_cast<std::uint32_t>(rng.below(capacity))};
      const std::size_t to = rng.below(2), in = naive[1].contains(b);
      const bool present = naive[in].contains(b), flag = rng.below(2) == 0;
      ASSERT_EQ(queues.contains(b), present);
      ASSERT_EQ(queues.note(b), notes[b.value]);
      const auto what = rng.below(16);
      if (!present) {
        queues.append(ids[to], b, flag);
        naive[to].blocks.push_back({.id = b, .evictable = flag});
      } else if (what < 8) {
        queues.move_to_back(ids[to], b);
        naive[to].blocks.push_back(naive[in].take(b));
      } else if (what < 9) {
        queues.erase(b);
        naive[in].take(b);
      } else if (what < 12) {
        queues.set_evictable(b, flag);
        naive[in].at(b).evictable = flag;
      } else if (what < 15) {
        queues.set_marked(b, flag);
        naive[in].at(b).count = flag;
      } else {
        queues.note(b) = notes[b.value] = static_cast<std::uint16_t>(step);
      }
      for (std::size_t q = 0; q < 2; ++q) {
        const auto& blocks = naive[q].blocks;
        std::optional<BlockId> candidate;
        for (std::size_t i = blocks.size(); i-- > 0;) {
          if (blocks[i].evictable && blocks[i].count == 0) candidate = blocks[i].id;
        }
        ASSERT_EQ(queues.size(ids[q]), blocks.size());
        ASSERT_EQ(queues.oldest(ids[q]),
                  blocks.empty() ? std::nullopt : std::optional(blocks.front().id));
        ASSERT_EQ(queues.oldest_evictable(ids[q]), naive[q].oldest_evictable());
        ASSERT_EQ(queues.any_evictable(ids[q]), naive[q].oldest_evictable().has_value());
        ASSERT_EQ(queues.oldest_candidate(ids[q]), candidate) << capacity << " " << step;
        if (!naive[q].contains(b)) continue;
        const auto at = naive[q].find(b);
        ASSERT_EQ(queues.queue(b), ids[q]);
        ASSERT_EQ(queues.evictable(b), at->evictable);
        ASSERT_EQ(queues.marked(b), at->count != 0);
        ASSERT_EQ(queues.newer(b),
                  at + 1 == naive[q].blocks.end() ? std::nullopt : std::optional((at + 1)->id));
        const auto next =
            std::find_if(at, naive[q].blocks.end(), [](auto& x) { return x.evictable; });
        ASSERT_EQ(queues.evictable_from(b),
                  next == naive[q].blocks.end() ? std::nullopt : std::optional(next->id));
      }
    }
  }
}

}  // namespace
}  // namespace quire::eviction_test
