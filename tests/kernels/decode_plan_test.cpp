// How decode steps are spread over a device.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/core/rng.hpp>
#include <quire/kernels/paged_decode/plan.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;

TEST(DecodePlan, FillsTheDeviceAndCoversEachTokenOnce) {
  Rng rng(9);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int32_t> lengths(1 + rng.below(40));
    for (auto& n : lengths) n = static_cast<std::int32_t>(rng.below(round % 3 == 0 ? 40 : 9000));
    const DecodeSlots slots{.blocks = static_cast<std::uint32_t>(1 + rng.below(600)),
                            .blocks_per_work = static_cast<std::uint32_t>(1 + rng.below(8))};
    const SlidingWindow window(round % 2 == 0 ? 1 << 30 : 700);
    const auto plan = plan_decode(std::span<const std::int32_t>(lengths), window, slots);
    std::vector<std::vector<DecodeWork>> of(lengths.size());
    for (std::size_t i = 0; i < plan.work.size(); ++i) {
      of[plan.work[i].sequence].push_back(plan.work[i]);
      if (i > 0) {
        EXPECT_GE(plan.work[i - 1].end - plan.work[i - 1].begin,
                  plan.work[i].end - plan.work[i].begin);
      }
    }
    std::uint32_t partials = 0;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      std::sort(of[s].begin(), of[s].end(),
                [](const auto& a, const auto& b) { return a.begin < b.begin; });
      std::int64_t at = lengths[s] == 0 ? 0 : window.first_visible(lengths[s] - 1);
      for (const DecodeWork& w : of[s]) {
        EXPECT_EQ(w.begin, at);
        EXPECT_EQ(w.first != 0, &w == of[s].data());
        EXPECT_EQ(w.partial >= 0, of[s].size() > 1);
        at = w.end;
      }
      EXPECT_EQ(at, lengths[s]);
      if (of[s].size() > 1) {
        partials += static_cast<std::uint32_t>(of[s].size());
        for (const DecodeWork& w : of[s]) EXPECT_LE(w.end - w.begin, 1 << 14);
      }
    }
    EXPECT_EQ(partials, plan.partials);
    // Nobody waits while slots are free: either all parts run at once, or none is far longer
    // than a slot's share.
    std::int64_t total = 0;
    for (const DecodeWork& w : plan.work) total += w.end - w.begin;
    const std::int64_t share = total * slots.blocks_per_work / slots.blocks;
    const bool at_once = plan.work.size() * slots.blocks_per_work <= slots.blocks;
    EXPECT_TRUE(at_once || plan.work.front().end - plan.work.front().begin <=
                               std::max<std::int64_t>(128, 2 * share + 16))
        << round;
  }
  const std::vector<std::int32_t> one = {64000};
  const auto plan = plan_decode(std::span<const std::int32_t>(one), Causal(),
                                {.blocks = 528, .blocks_per_work = 8});
  EXPECT_EQ(plan.work.size(), 66u);  // fills it: 66 parts times 8
}

/// The length of a part, found by trying each; sequences are then cut into equal parts of whole tiles.
std::vector<std::int64_t> lengths_of_parts(std::span<const std::int32_t> lengths,
                                           const DecodeSlots& slots) {
  const std::int64_t least = (std::max(slots.least_tokens, 1) + 15) / 16;
  std::int64_t total = 0, longest = 0;
  for (const std::int32_t n : lengths) {
    total += n;
    longest = std::max<std::int64_t>(longest, n);
  }
  const auto count = [](std::int64_t n, std::int64_t part) {
    return std::max<std::int64_t>(1, (n + part - 1) / part);
  };
  const auto blocks = [&](std::int64_t tiles) {
    std::int64_t all = 0;
    for (const std::int32_t n : lengths) all += count(n, tiles * 16) * slots.blocks_per_work;
    return all;
  };
  const std::int64_t whole = std::max(least, (longest + 15) / 16);
  std::int64_t tiles = least;
  if (blocks(whole) <= slots.blocks) {
    while (blocks(tiles) > slots.blocks) ++tiles;
  } else {
    const std::int64_t mean = total * slots.blocks_per_work / slots.blocks;
    tiles = std::max(least, (2 * mean + 15) / 16);
  }
  std::vector<std::int64_t> parts;
  for (const std::int32_t n : lengths) {
    const std::int64_t wanted = count(n, tiles * 16);
    const std::int64_t each = std::max<std::int64_t>(1, ((n + wanted - 1) / wanted + 15) / 16) * 16;
    for (std::int64_t at = 0; at == 0 || at < n; at += each) {
      parts.push_back(std::min<std::int64_t>(each, n - at));
    }
  }
  std::sort(parts.rbegin(), parts.rend());
  return parts;
}
TEST(DecodePlan, PartsAreTheShortestThatRunAtOnce) {
  Rng rng(4);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::int32_t> lengths(1 + rng.below(6));
    for (auto& n : lengths) n = static_cast<std::int32_t>(rng.below(round % 2 == 0 ? 200 : 3000));
    if (round % 3 == 0) lengths[0] = static_cast<std::int32_t>(16 * rng.below(20));
    DecodeSlots slots{.blocks = static_cast<std::uint32_t>(1 + rng.below(90)),
                      .blocks_per_work = static_cast<std::uint32_t>(1 + rng.below(4)),
                      .least_tokens = static_cast<std::int32_t>(rng.below(70))};
    if (round % 4 == 0) {  // more sequences than run at once, and some far longer than the others
      lengths.resize(20 + rng.below(40));
      for (auto& n : lengths)
        n = static_cast<std::int32_t>(rng.below(rng.below(9) == 0 ? 3000 : 40));
      slots.blocks = static_cast<std::uint32_t>(lengths.size() * slots.blocks_per_work * 2 / 3);
    }
    const auto plan = plan_decode(std::span<const std::int32_t>(lengths), Causal(), slots);
    std::vector<std::int64_t> parts;
    for (const DecodeWork& w : plan.work) parts.push_back(w.end - w.begin);
    ASSERT_EQ(parts, lengths_of_parts(lengths, slots)) << "round " << round;
    // parts of a sequence are numbered from its merge's first, each by itself
    std::vector<bool> taken(plan.partials, false);
    for (const DecodeWork& w : plan.work) {
      if (w.partial < 0) continue;
      ASSERT_LT(static_cast<std::uint32_t>(w.partial), plan.partials);
      ASSERT_FALSE(taken[static_cast<std::uint32_t>(w.partial)]);
      taken[static_cast<std::uint32_t>(w.partial)] = true;
      const auto merge = std::find_if(plan.merges.begin(), plan.merges.end(),
                                      [&](const auto& m) { return m.sequence == w.sequence; });
      ASSERT_NE(merge, plan.merges.end());
      ASSERT_GE(static_cast<std::uint32_t>(w.partial), merge->begin);
      ASSERT_LT(static_cast<std::uint32_t>(w.partial), merge->begin + merge->count);
    }
  }
  EXPECT_EQ(DecodeSlots{}.blocks, 528u);  // an H200's multiprocessors, four blocks each
}

/// Each key of a row once, by the query of its run; partial results of a row lie together.
TEST(RunPlan, MergesTheRunsOfARow) {
  const std::vector<KeyRun> runs = {{9, 0, 0, 4}, {0, 0, 4, 100}, {1, 1, 0, 20}, {2, 2, 3, 200}};
  for (const bool merge_all : {false, true}) {
    const DecodePlan plan =
        plan_runs(runs, {.blocks = 40, .blocks_per_work = 2, .least_tokens = 16}, merge_all, 7);
    std::vector<std::vector<int>> seen(4, std::vector<int>(200, 0));
    std::vector<std::uint32_t> used;
    for (const DecodeWork& w : plan.work) {
      for (std::size_t r = 0; r < runs.size(); ++r) {
        if (runs[r].query != w.sequence) continue;
        EXPECT_GE(w.begin, runs[r].begin);
        EXPECT_LE(w.end, runs[r].end);
        for (std::int32_t t = w.begin; t < w.end; ++t) ++seen[r][static_cast<std::size_t>(t)];
        if (w.partial < 0) continue;
        used.push_back(static_cast<std::uint32_t>(w.partial));
        const auto merge =
            std::find_if(plan.merges.begin(), plan.merges.end(),
                         [&](const MergeWork& m) { return m.sequence == runs[r].into; });
        ASSERT_NE(merge, plan.merges.end());
        EXPECT_GE(used.back(), merge->begin);
        EXPECT_LT(used.back(), merge->begin + merge->count);
      }
    }
    for (std::size_t r = 0; r < runs.size(); ++r) {
      for (std::int32_t t = 0; t < 200; ++t) {
        EXPECT_EQ(seen[r][static_cast<std::size_t>(t)], t >= runs[r].begin && t < runs[r].end);
      }
    }
    std::sort(used.begin(), used.end());
    ASSERT_EQ(used.size(), plan.partials);
    for (std::size_t i = 0; i < used.size(); ++i) EXPECT_EQ(used[i], 7 + i);
    EXPECT_EQ(plan.merges.size(), merge_all ? 3u : 2u);  // the second row is whole in one part
  }
}

}  // namespace
}  // namespace quire::kernels::testing
