#include <quire/eviction/fifo.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveFifo {
  static constexpr std::string_view name = "model";
  explicit NaiveFifo(BlockCount) {}
  void on_insert(BlockId b, const BlockContext&) { list.blocks.push_back({b}); }
  void on_access(BlockId, const BlockContext&) {}
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() { return list.oldest_evictable(); }
  NaiveList list;
};

TEST(Fifo, EqualsItsModel) { agree_with_model<eviction::Fifo, NaiveFifo>(); }

TEST(Fifo, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Fifo, NaiveFifo>()), 7158u); }

TEST(Fifo, AHitDoesNotMoveABlock) {
  eviction::Fifo fifo(BlockCount{3});
  for (const std::uint32_t i : {2u, 0u, 1u}) {
    fifo.on_insert(BlockId{i}, {});
    fifo.set_evictable(BlockId{i}, true);
  }
  fifo.on_access(BlockId{2}, {});
  EXPECT_EQ(fifo.victim(), BlockId{2});
  fifo.set_evictable(BlockId{2}, false);  // in use: the next in line goes
  EXPECT_EQ(fifo.victim(), BlockId{0});
  fifo.set_evictable(BlockId{2}, true);  // and it is back in its old place
  EXPECT_EQ(fifo.victim(), BlockId{2});
}

}  // namespace
}  // namespace quire::eviction_test
