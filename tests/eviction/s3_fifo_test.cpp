#include <quire/eviction/s3_fifo.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct LiteralS3Fifo {
  explicit LiteralS3Fifo(BlockCount capacity)
      : target(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 10))),
        most(static_cast<std::size_t>(capacity.value) - target) {}
  NaiveList& of(BlockId b) { return main.contains(b) ? main : small; }
  void on_insert(BlockId b, const BlockContext& context) {
    const bool ghost = std::erase(ghosts, context.content) > 0;
    (ghost ? main : small).blocks.push_back({.id = b, .context = context});
  }
  void on_access(BlockId b, const BlockContext&) {
    auto& count = of(b).at(b).count;
    count = std::min<std::int64_t>(3, count + 1);
  }
  void set_evictable(BlockId b, bool value) { of(b).at(b).evictable = value; }
  void lose(BlockId b) { of(b).take(b); }
  std::optional<BlockId> evict_main() {
    for (;;) {
      const auto b = main.oldest_evictable();
      if (main.at(*b).count == 0) {
        main.take(*b);
        return b;
      }
      --main.at(*b).count;
      main.move_to_back(*b);
    }
  }
  std::optional<BlockId> evict() {
    for (;;) {
      const auto s = small.oldest_evictable();
      const auto m = main.oldest_evictable();
      if (!s && !m) return std::nullopt;
      if (!s || (small.blocks.size() < target && m)) return evict_main();
      if (small.at(*s).count <= 1) {
        const NaiveBlock out = small.take(*s);
        ghosts.push_back(out.context.content);
        if (ghosts.size() > most) ghosts.erase(ghosts.begin());
        return out.id;
      }
      std::optional<BlockId> out;
      if (main.blocks.size() >= most && m) out = evict_main();
      NaiveBlock promoted = small.take(*s);
      promoted.count = 0;
      main.blocks.push_back(promoted);
      if (out) return out;
    }
  }
  std::size_t target;
  std::size_t most;
  NaiveList small;
  NaiveList main;
  std::vector<std::uint64_t> ghosts;
};

TEST(S3Fifo, EqualsItsModel) { agree_with_model<eviction::S3Fifo, Lazily<LiteralS3Fifo>>(); }

TEST(S3Fifo, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::S3Fifo, Lazily<LiteralS3Fifo>>()), 9890u);
}

TEST(S3Fifo, ScansLeaveFromTheSmallQueue) {
  eviction::S3Fifo s3(BlockCount{20});  // small queue: 2
  enter(s3, 0);
  hit(s3, 0);
  hit(s3, 0);
  for (std::uint32_t b = 1; b < 6; ++b) enter(s3, b);
  EXPECT_EQ(evict(s3), 1);  // 0 was hit twice: promoted
  EXPECT_EQ(evict(s3), 2);
  EXPECT_EQ(evict(s3), 3);
  EXPECT_EQ(evict(s3), 4);  // two left in the small queue: still at its size
  EXPECT_EQ(evict(s3), 0);  // below it: the main queue's turn, and 0 was not hit there
  EXPECT_EQ(evict(s3), 5);
}

TEST(S3Fifo, AGhostEntersTheMainQueue) {
  eviction::S3Fifo s3(BlockCount{10});  // small queue: 1
  enter(s3, 0, {.content = 77});
  EXPECT_EQ(evict(s3), 0);
  enter(s3, 1, {.content = 77});  // another block, the same text
  enter(s3, 2);
  EXPECT_EQ(evict(s3), 2);
  EXPECT_EQ(evict(s3), 1);
  enter(s3, 1, {.content = 77});  // the main queue leaves no ghosts
  enter(s3, 2);
  EXPECT_EQ(evict(s3), 1);
}

}  // namespace
}  // namespace quire::eviction_test
