#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/paged_prefill/warpgroup_prefill.cuh>
#include <tests/kernels/prefill_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

/// Small tiles, so that few tokens are many of them.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant,
          WarpgroupTuning tuning = WarpgroupTuning{.consumers = 1, .tokens = 16}>
void check(std::size_t kv_heads, std::size_t group, const std::vector<Chunk>& chunks,
           std::uint64_t seed, float loud = 1) {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  check_prefill_by<WarpgroupPrefill<Key, Variant, tuning>, Variant>(kv_heads, group, chunks, seed,
                                                                    loud);
}

TEST(WarpgroupPrefill, Bf16AndFp16) {
  check<kv::Bf16, 16, 128, Bf16, Causal>(1, 4, {{0, 33}, {31, 1}, {15, 9}}, 1);
  check<kv::Bf16, 16, 128, Bf16, Causal>(2, 1, {{0, 5}, {64, 3}}, 2);
  check<kv::Fp16, 8, 64, Fp16, Alibi>(1, 3, {{0, 17}, {40, 12}}, 3);
  check<kv::Fp16, 1, 64, Fp16, Sinks>(1, 2, {{0, 16}, {20, 13}}, 4);
}
TEST(WarpgroupPrefill, WindowsAndSoftCap) {
  check<kv::Bf16, 4, 64, Bf16, SlidingWindow>(1, 7, {{0, 18}, {50, 9}}, 5);
  check<kv::Bf16, 16, 64, Bf16, SlidingWindow>(2, 2, {{0, 60}, {70, 1}}, 6);
  check<kv::Bf16, 64, 64, Bf16, SoftCap>(1, 5, {{0, 8}, {63, 7}}, 7);
  check<kv::Fp16, 16, 64, Fp16, AlibiAndSinks>(1, 3, {{30, 20}}, 8);
  // queries of another type than the keys, and weights that hold against the largest alone
  check<kv::Fp16, 16, 64, Bf16, Causal>(1, 2, {{20, 9}}, 9);
  check<kv::Fp16, 16, 64, Bf16, Causal>(1, 4, {{0, 12}, {30, 9}}, 10, 300);
}
TEST(WarpgroupPrefill, SeveralConsumersAndStages) {
  constexpr WarpgroupTuning two{.consumers = 2, .tokens = 32};
  check<kv::Bf16, 8, 64, Bf16, Causal, two>(1, 4, {{0, 40}, {90, 2}}, 11);
  check<kv::Bf16, 32, 64, Bf16, SlidingWindow, two>(1, 8, {{0, 17}, {64, 16}}, 12);
  constexpr WarpgroupTuning three{.consumers = 3, .tokens = 16, .stages = 3};
  check<kv::Fp16, 16, 64, Fp16, Causal, three>(1, 4, {{20, 49}}, 13);
  constexpr WarpgroupTuning at_will{.consumers = 2, .tokens = 16, .stages = 1, .turns = false};
  check<kv::Bf16, 16, 64, Bf16, Causal, at_will>(1, 4, {{20, 33}}, 14);
  // fewer tiles than stages, of which the first has tokens that nobody sees
  constexpr WarpgroupTuning ring{.consumers = 1, .tokens = 16, .stages = 3};
  check<kv::Bf16, 16, 64, Bf16, SlidingWindow, ring>(1, 2, {{50, 9}}, 19);
}
// More copies a tile than a warp has lanes: twice as many, whose blocks are known before there is room,
// and four times.
TEST(WarpgroupPrefill, SmallBlocks) {
  constexpr WarpgroupTuning half{.consumers = 1, .tokens = 64};
  check<kv::Bf16, 1, 64, Bf16, Causal, half>(1, 4, {{60, 12}}, 20);
  constexpr WarpgroupTuning whole{.consumers = 1, .tokens = 128};
  check<kv::Bf16, 1, 64, Bf16, SlidingWindow, whole>(1, 4, {{120, 14}}, 21);
}
// What a box behind the last token would bring, wherever it lies: tokens that end where a box does.
TEST(WarpgroupPrefill, EndsWithABox) {
  constexpr WarpgroupTuning wide{.consumers = 1, .tokens = 32};
  for (std::uint64_t seed = 22; seed < 28; ++seed) {
    check<kv::Bf16, 8, 64, Bf16, Causal, wide>(1, 4, {{8, 16}}, seed);
  }
}
// As devices run it: tiles of 128 tokens (64 where a head has 256 dimensions), two consumers.
TEST(WarpgroupPrefill, AsTuned) {
  const auto check_tuned = [](auto key, const std::vector<Chunk>& chunks, std::uint64_t seed) {
    using Kernel = WarpgroupPrefill<typename decltype(key)::type, Causal>;
    check_prefill_by<Kernel, Causal>(1, 4, chunks, seed);
  };
  check_tuned(std::type_identity<KernelKey<kv::Bf16, 16, 128, Bf16>>{}, {{100, 33}}, 15);
  check_tuned(std::type_identity<KernelKey<kv::Fp16, 256, 64, Fp16>>{}, {{250, 10}, {3, 2}}, 16);
  check_tuned(std::type_identity<KernelKey<kv::Bf16, 16, 256, Bf16>>{}, {{60, 9}}, 17);
}
// A block for each multiprocessor, and no more than there are pieces of work.
TEST(WarpgroupPrefill, Blocks) {
  using Kernel = WarpgroupPrefill<KernelKey<kv::Bf16, 16, 128, Bf16>, Causal>;
  EXPECT_EQ(Kernel::shape(3, 8, 132).grid, (simt::Dim3{24, 1, 1}));
  EXPECT_EQ(Kernel::shape(64, 8, 132).grid, (simt::Dim3{132, 1, 1}));
}
/// Every order that the emulator knows, on one shape.
TEST(WarpgroupPrefill, AnyOrder) {
  using Key = KernelKey<kv::Bf16, 16, 64, Bf16>;
  using Kernel = WarpgroupPrefill<Key, Causal, WarpgroupTuning{.consumers = 2, .tokens = 16}>;
  for (const auto order : {simt::emulator::Order::forward, simt::emulator::Order::reverse}) {
    const simt::emulator::ScopedSchedule schedule({.order = order});
    check_prefill_by<Kernel, Causal>(1, 8, {{33, 10}}, 18);
  }
}
// One place for what can be chosen: what has no path by warpgroups, and what is better off without.
TEST(WarpgroupPrefill, WhereItExists) {
  using Bf16Blocks = KernelKey<kv::Bf16, 16, 128, Bf16>;
  EXPECT_TRUE(prefers_warpgroups<Bf16Blocks>);
  EXPECT_TRUE((prefers_warpgroups<KernelKey<kv::Fp16, 256, 64, Bf16>>));
  EXPECT_TRUE((prefers_warpgroups<KernelKey<kv::Bf16, 8, 256, Fp16>>));
  EXPECT_FALSE((prefers_warpgroups<KernelKey<kv::Bf16, 4, 128, Bf16>>));
  EXPECT_FALSE((prefers_warpgroups<KernelKey<kv::Bf16, 24, 128, Bf16>>));
  EXPECT_FALSE((prefers_warpgroups<KernelKey<kv::Bf16, 16, 80, Bf16>>));
  EXPECT_FALSE((prefers_warpgroups<KernelKey<kv::Int8PerTokenHead, 16, 128, Bf16>>));
  EXPECT_FALSE((prefers_warpgroups<KernelKey<kv::Fp8E4m3, 16, 128, Bf16>>));
  EXPECT_FALSE((prefers_warpgroups<KernelKey<kv::Fp32, 16, 128, float>>));
}

}  // namespace
}  // namespace quire::kernels::testing
