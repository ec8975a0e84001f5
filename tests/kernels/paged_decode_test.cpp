#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

TEST(PagedDecode, Fp32) {
  check_decode_grid<kv::Fp32, 16, 64, float, Causal>();
  check_decode_grid<kv::Fp32, 1, 80, float, SlidingWindow>();
  check_decode_grid<kv::Fp32, 3, 256, float, Alibi>();
  check_decode_grid<kv::Fp32, 256, 96, float, Sinks>();
}

TEST(MergeStates, PartsThatSawNothingCountForNothing) { check_merge(); }

TEST(PagedDecode, PlanFillsTheDeviceAndCoversEachTokenOnce) {
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

TEST(PagedDecode, HeadsThatDoNotDivideAreRefused) {
  PagedDecodeParams<float, Causal> p;
  p.heads = 7;
  p.cache.kv_heads = 2;
  EXPECT_THROW((paged_decode<KernelKey<kv::Fp32, 16, 64, float>, Causal>(p, 1, nullptr, 0)), Error);
}

}  // namespace
}  // namespace quire::kernels::testing
