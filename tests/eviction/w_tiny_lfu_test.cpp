#include <quire/eviction/w_tiny_lfu.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <tuple>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

// The sketch with all counters halved at once.
struct EagerSketch {
  explicit EagerSketch(BlockCount capacity)
      : period(10 * capacity.value),
        shape(capacity),
        counters(64 * std::bit_ceil(static_cast<std::size_t>(capacity.value + 3) / 4)) {}
  int& counter(std::uint64_t content, std::size_t row) {
    const auto at = shape.place(content, row);
    return counters[at.word * 16 + at.shift / 4];
  }
  void add(std::uint64_t content) {
    for (std::size_t row = 0; row < 4; ++row) {
      int& c = counter(content, row);
      c = std::min(15, c + 1);
    }
    if (++additions < period) return;
    for (int& c : counters) c /= 2;
    additions /= 2;
  }
  int estimate(std::uint64_t content) {
    int least = 15;
    for (std::size_t row = 0; row < 4; ++row) least = std::min(least, counter(content, row));
    return least;
  }
  std::int64_t additions = 0;
  std::int64_t period;
  eviction::FrequencySketch shape;
  std::vector<int> counters;
};

struct LiteralWTinyLfu {
  explicit LiteralWTinyLfu(BlockCount capacity)
      : window_most(static_cast<std::size_t>(std::max<std::int64_t>(1, capacity.value / 100))),
        safe_most((static_cast<std::size_t>(capacity.value) - window_most) * 4 / 5),
        sketch(capacity) {}
  NaiveList& of(BlockId b) {
    return window.contains(b) ? window : probation.contains(b) ? probation : safe;
  }
  void on_insert(BlockId b, const BlockContext& context) {
    sketch.add(context.content);
    if (window.blocks.size() == window_most) {
      probation.blocks.push_back(window.take(window.blocks[0].id));
    }
    window.blocks.push_back({.id = b, .context = context});
  }
  void on_access(BlockId b, const BlockContext&) {
    sketch.add(of(b).at(b).context.content);
    if (window.contains(b)) return window.move_to_back(b);
    safe.blocks.push_back(of(b).take(b));
    if (safe.blocks.size() > safe_most) probation.blocks.push_back(safe.take(safe.blocks[0].id));
  }
  void set_evictable(BlockId b, bool value) { of(b).at(b).evictable = value; }
  void lose(BlockId b) { of(b).take(b); }
  std::optional<BlockId> evict() {
    const auto candidate = window.oldest_evictable();
    auto resident = probation.oldest_evictable();
    if (!resident) resident = safe.oldest_evictable();
    auto out = candidate ? candidate : resident;
    if (candidate && resident) {
      const bool full = window.blocks.size() == window_most;
      const auto asked = [&](BlockId b) { return sketch.estimate(of(b).at(b).context.content); };
      if (!full) {
        out = resident;
      } else if (asked(*candidate) > asked(*resident)) {
        out = resident;
        probation.blocks.push_back(window.take(*candidate));
      }
    }
    if (out) lose(*out);
    return out;
  }
  std::size_t window_most;
  std::size_t safe_most;
  EagerSketch sketch;
  NaiveList window;
  NaiveList probation;
  NaiveList safe;
};

/// Copying the sketch at every question would take all day: the victim is found without a copy.
struct NaiveWTinyLfu : LiteralWTinyLfu {
  static constexpr std::string_view name = "model";
  using LiteralWTinyLfu::LiteralWTinyLfu;
  std::optional<BlockId> victim() {
    const auto saved = std::tuple(window, probation, safe);
    const auto out = evict();
    std::tie(window, probation, safe) = saved;
    return out;
  }
  void on_remove(BlockId b) { victim() == b ? void(evict()) : lose(b); }
};

TEST(WTinyLfu, EqualsItsModel) { agree_with_model<eviction::WTinyLfu, NaiveWTinyLfu>(); }

TEST(WTinyLfu, GoldenHits) { EXPECT_EQ((golden_hits<eviction::WTinyLfu, NaiveWTinyLfu>()), 9936u); }

TEST(WTinyLfu, AScanDoesNotDisplaceWhatIsAskedForOften) {
  eviction::WTinyLfu tiny(BlockCount{4});  // a window of one
  for (const std::uint32_t b : {0u, 1u, 2u}) {
    enter(tiny, b, {.content = 10 + b});
    hit(tiny, b, {.content = 10 + b});
  }
  for (std::uint64_t scanned = 100; scanned < 105; ++scanned) {
    enter(tiny, 3, {.content = scanned});
    EXPECT_EQ(evict(tiny), 3);
  }
}

}  // namespace
}  // namespace quire::eviction_test
