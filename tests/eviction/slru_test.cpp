#include <quire/eviction/slru.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveSlru {
  static constexpr std::string_view name = "model";
  explicit NaiveSlru(BlockCount capacity)
      : most(static_cast<std::size_t>(capacity.value * 4 / 5)) {}
  NaiveList& of(BlockId b) { return safe.contains(b) ? safe : probation; }
  void on_insert(BlockId b, const BlockContext&) { probation.blocks.push_back({b}); }
  void on_access(BlockId b, const BlockContext&) {
    safe.blocks.push_back(of(b).take(b));
    if (safe.blocks.size() > most) probation.blocks.push_back(safe.take(safe.blocks[0].id));
  }
  void set_evictable(BlockId b, bool value) { of(b).at(b).evictable = value; }
  void on_remove(BlockId b) { of(b).take(b); }
  std::optional<BlockId> victim() {
    const auto b = probation.oldest_evictable();
    return b ? b : safe.oldest_evictable();
  }
  std::size_t most;
  NaiveList probation;
  NaiveList safe;
};

TEST(Slru, EqualsItsModel) { agree_with_model<eviction::Slru, NaiveSlru>(); }

TEST(Slru, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Slru, NaiveSlru>()), 9756u); }

TEST(Slru, AHitProtects) {
  eviction::Slru slru(BlockCount{5});  // four protected
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(slru, b);
  hit(slru, 0);
  EXPECT_EQ(evict(slru), 1);
  enter(slru, 1);
  EXPECT_EQ(evict(slru), 2);
  EXPECT_EQ(evict(slru), 1);
  EXPECT_EQ(evict(slru), 0);  // nothing on probation
}

TEST(Slru, TheOldestProtectedReturnsToProbation) {
  eviction::Slru slru(BlockCount{3});  // two protected
  for (const std::uint32_t b : {0u, 1u, 2u}) enter(slru, b);
  for (const std::uint32_t b : {0u, 1u, 2u}) hit(slru, b);
  EXPECT_EQ(evict(slru), 0);
  EXPECT_EQ(evict(slru), 1);
}

}  // namespace
}  // namespace quire::eviction_test
