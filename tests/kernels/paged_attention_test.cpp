// The published decode kernels, and shared prefixes: each against the oracle of decode attention.
#include <quire/kernels/cascade/cascade.cuh>
#include <quire/kernels/paged_attention/paged_attention.cuh>
#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

/// v1, then v2 in parts of 16 tokens, over the same batch.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant>
void check_published(std::size_t kv_heads, std::size_t group,
                     const std::vector<std::int32_t>& lengths, std::uint64_t seed) {
  DecodeCase<Format, block_tokens, head_dim, Query, Variant> c(kv_heads, group, lengths, seed);
  using Key = typename decltype(c)::Key;
  const auto longest =
      static_cast<std::uint32_t>(*std::max_element(lengths.begin(), lengths.end()));
  const auto sequences = static_cast<std::uint32_t>(lengths.size());
  const std::uint32_t most = std::max(1u, (longest + 15) / 16);
  c.make(sequences * most);
  // the last table ends where its sequence does
  const std::vector<std::uint32_t> tables(c.pool.tables.begin(), c.pool.tables.end() - 1);
  c.p.blocks = tables.data();
  const simt::emulator::ScopedSchedule schedule({.seed = seed});
  paged_attention_v1<Key, Variant>(c.p, sequences, longest);
  c.expect("v1");
  const auto parts = partitions_of(lengths, 16, most);
  c.out = poisoned<Query>(c.out.size());
  c.p.out = c.out.data();
  paged_attention_v2<Key, Variant, 16>(c.p, sequences, most, parts.data());
  c.expect("v2");
}

TEST(PagedAttention, BothVersions) {
  check_published<kv::Bf16, 16, 128, Bf16, Causal>(1, 2, {16, 17, 1, 0, 70, 32}, 1);
  check_published<kv::Bf16, 16, 128, Bf16, Causal>(2, 3, {15, 33}, 2);
  check_published<kv::Fp32, 1, 80, float, AlibiAndSinks>(2, 1, {1, 33, 20}, 3);
  check_published<kv::Int8PerTokenHead, 64, 96, Fp16, Sinks>(1, 3, {65, 0, 5}, 4);
  check_published<kv::Fp16, 3, 256, float, SlidingWindow>(1, 2, {40, 12, 3}, 5);
}
TEST(PagedAttention, TheFirstVersionRefusesContextsBeyondSharedMemory) {
  using Key = KernelKey<kv::Bf16, 16, 128, Bf16>;
  EXPECT_THROW((paged_attention_v1<Key, Causal>({}, 1, 50'000)), Error);
  // the most that fits; and batches of nothing launch nothing
  using Kernel = PagedAttention<Key, Causal, 0>;
  const auto most =
      static_cast<std::uint32_t>((simt::most_shared_bytes - Kernel::logits_at) / sizeof(float));
  ASSERT_EQ(Kernel::shared_bytes(most), simt::most_shared_bytes);
  EXPECT_NO_THROW((paged_attention_v1<Key, Causal>({}, 0, most)));
  EXPECT_THROW((paged_attention_v1<Key, Causal>({}, 0, most + 1)), Error);
  EXPECT_NO_THROW((paged_attention_v2<Key, Causal, 16>({}, 0, 1, nullptr)));
}

/// What of a plan's work belongs to each prefix, written out: as many equal parts, of whole tiles of
/// 16 tokens, as run at once.
void expect_prefix_work(const CascadePlan& plan, const std::vector<SharedPrefix>& prefixes,
                        const std::vector<std::int32_t>& lengths, const auto& variant,
                        std::uint32_t slots, std::uint32_t kv_heads, std::uint32_t group,
                        std::uint32_t tile) {
  std::size_t at = 0, work = 0;
  for (const SharedPrefix& prefix : prefixes) {
    std::int64_t first = prefix.tokens;
    for (const std::uint32_t s : prefix.sequences) {
      first = std::min(first, variant.first_visible(lengths[s] - 1));
    }
    const auto vectors = static_cast<std::uint32_t>(prefix.sequences.size()) * group;
    const std::int64_t tokens = prefix.tokens - first;
    if (tokens == 0) continue;
    std::uint32_t tiles = 0;
    for (std::uint32_t v = 0; v < vectors; v += tile) ++tiles;
    std::int64_t parts = 1;
    while ((parts + 1) * 16 <= tokens && (parts + 1) * tiles * kv_heads <= slots) ++parts;
    std::int64_t each = 0;
    while (each * parts < tokens) each += 16;
    for (std::uint32_t v = 0; v < vectors; v += tile) {
      std::uint32_t part = 0;
      for (std::int64_t t = first; t < prefix.tokens; t += each, ++part, ++work) {
        ASSERT_LT(work, plan.work.size());
        const PrefixWork& w = plan.work[work];
        ASSERT_EQ(w.group, at);
        ASSERT_EQ(w.first, v);
        ASSERT_EQ(w.begin, t);
        ASSERT_EQ(w.end, std::min<std::int64_t>(t + each, prefix.tokens));
        ASSERT_EQ(w.part, part);
      }
    }
    ++at;
  }
  ASSERT_EQ(plan.groups.size(), at);
  ASSERT_EQ(plan.work.size(), work);
}

/// Sequences share the blocks of their prefixes; `slots`: more of them, more parts.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant>
void check_cascade(std::size_t kv_heads, std::size_t group,
                   const std::vector<std::int32_t>& lengths,
                   const std::vector<SharedPrefix>& prefixes, std::uint32_t slots,
                   std::uint64_t seed) {
  constexpr DecodeTuning tuning{.warps = 2};
  constexpr PrefillTuning prefix_tuning{.warps = 1, .tokens = 16};
  DecodeCase<Format, block_tokens, head_dim, Query, Variant> c(kv_heads, group, lengths, seed);
  using Key = typename decltype(c)::Key;
  auto& pool = c.pool;
  for (const SharedPrefix& prefix : prefixes) {
    for (const std::uint32_t s : prefix.sequences) {
      ASSERT_EQ(prefix.tokens % static_cast<std::int32_t>(block_tokens), 0);
      std::copy_n(&pool.tables[pool.table_begin[prefix.sequences[0]]],
                  static_cast<std::uint32_t>(prefix.tokens) / block_tokens,
                  &pool.tables[pool.table_begin[s]]);
    }
  }
  const auto plan = plan_cascade(
      std::span<const std::int32_t>(lengths), std::span<const std::uint32_t>(pool.table_begin),
      std::span<const SharedPrefix>(prefixes), c.made.variant,
      {.blocks = slots,
       .blocks_per_work = static_cast<std::uint32_t>(kv_heads) *
                          decode_passes<Key, tuning>(static_cast<std::uint32_t>(group)),
       .least_tokens = 16},
      static_cast<std::uint32_t>(kv_heads), static_cast<std::uint32_t>(group),
      PagedPrefill<Key, Variant, prefix_tuning, true>::tile);
  expect_prefix_work(plan, prefixes, lengths, c.made.variant, slots,
                     static_cast<std::uint32_t>(kv_heads), static_cast<std::uint32_t>(group),
                     PagedPrefill<Key, Variant, prefix_tuning, true>::tile);
  c.make(plan.own.partials);
  c.p.work = plan.own.work.data();
  SharedPrefixParams<Query, Variant> p;
  p.q = c.p.q;
  p.q_stride = c.p.q_stride;
  p.cache = c.p.cache;
  p.blocks = c.p.blocks;
  p.groups = plan.groups.data();
  p.work = plan.work.data();
  p.members = plan.members.data();
  p.first_partial = plan.first_partial.data();
  p.lengths = c.p.lengths;
  p.partial = c.p.partial;
  p.partial_lse = c.p.partial_lse;
  p.heads = c.p.heads;
  p.scale = c.p.scale;
  p.variant = c.p.variant;
  const simt::emulator::ScopedSchedule schedule(
      {.copies = seed % 2 == 0 ? simt::emulator::Copies::early : simt::emulator::Copies::late,
       .seed = seed});
  cascade<Key, Variant, tuning, prefix_tuning>(p, static_cast<std::uint32_t>(plan.work.size()), c.p,
                                               static_cast<std::uint32_t>(plan.own.work.size()),
                                               plan.own.merges.data(),
                                               static_cast<std::uint32_t>(plan.own.merges.size()));
  c.expect("cascade, slots " + std::to_string(slots));
  // A prefix is planned once for all of a group's heads: no token of it is in any sequence's work.
  for (const SharedPrefix& prefix : prefixes) {
    for (const DecodeWork& w : plan.own.work) {
      const bool member = std::find(prefix.sequences.begin(), prefix.sequences.end(), w.sequence) !=
                          prefix.sequences.end();
      EXPECT_TRUE(!member || w.begin >= prefix.tokens);
    }
  }
}

TEST(Cascade, SharedPrefixesAreReadOnceAndMerged) {
  using Bf = kv::Bf16;
  const std::vector<std::int32_t> lengths = {49, 20, 64, 33, 0, 80, 35};
  check_cascade<Bf, 16, 64, Bf16, Sinks>(1, 3, lengths, {{{0, 2, 3}, 32}, {{5, 6}, 16}}, 1, 1);
  check_cascade<Bf, 16, 64, Bf16, Sinks>(2, 2, lengths, {{{3, 0, 2, 5, 6}, 32}}, 1000, 2);
  check_cascade<Bf, 16, 64, Bf16, Sinks>(1, 4, lengths, {}, 1000, 3);
  check_cascade<Bf, 16, 64, Bf16, Sinks>(2, 8, {100, 120, 98}, {{{0, 1, 2}, 96}}, 12, 8);
  check_cascade<Bf, 16, 64, Bf16, Sinks>(1, 8, {100, 120}, {{{0, 1}, 80}}, 3, 9);
}
TEST(Cascade, PositionsAndWindowsStayTheQuerysOwn) {
  using Int8 = kv::Int8PerTokenHead;
  check_cascade<Int8, 8, 64, Fp16, Alibi>(1, 5, {41, 70, 49}, {{{1, 0, 2}, 40}}, 4, 4);
  // eight parts of 17 tokens, which are 32 in whole tiles
  check_cascade<Int8, 8, 64, Fp16, Alibi>(1, 2, {140, 150}, {{{0, 1}, 136}}, 8, 7);
  // a prefix that ends one token before a tile does, and a token there as near as the query's own
  check_cascade<kv::Bf16, 1, 64, Bf16, Alibi>(1, 4, {48, 60}, {{{0, 1}, 47}}, 1, 10);
  check_cascade<kv::Fp8E4m3, 8, 64, Bf16, SlidingWindow>(1, 4, {45, 50, 41, 80},
                                                         {{{0, 1, 2, 3}, 40}}, 1000, 5);
  check_cascade<kv::Fp8E4m3, 8, 64, Bf16, SlidingWindow>(1, 4, {53, 60}, {{{0, 1}, 40}}, 1000, 6);
}
// Tiles smaller than a kernel's, so that groups have several of them, the last one whole or not.
TEST(Cascade, PlansFillTheDeviceTileByTile) {
  const std::vector<std::int32_t> lengths = {400, 420, 398, 500, 405};
  const std::vector<std::uint32_t> begin = {0, 30, 60, 90, 130};
  const std::vector<SharedPrefix> prefixes = {{{0, 1, 2}, 384}, {{3, 4}, 400}};
  for (const std::uint32_t kv_heads : {1u, 2u}) {
    for (const std::uint32_t group : {1u, 8u}) {
      for (const std::uint32_t slots : {1u, 12u, 33u, 1000u}) {
        const auto plan = plan_cascade(
            std::span<const std::int32_t>(lengths), std::span<const std::uint32_t>(begin),
            std::span<const SharedPrefix>(prefixes), Causal(),
            {.blocks = slots, .blocks_per_work = kv_heads, .least_tokens = 16}, kv_heads, group,
            16);
        expect_prefix_work(plan, prefixes, lengths, Causal(), slots, kv_heads, group, 16);
      }
    }
  }
}
TEST(Cascade, PrefixesThatReachTheQueryAreRefused) {
  const std::vector<std::int32_t> lengths = {16, 40};
  const std::vector<std::uint32_t> begin = {0, 1};
  for (const SharedPrefix& prefix : {SharedPrefix{{0, 1}, 16}, SharedPrefix{{1, 2}, 16}}) {
    EXPECT_THROW((void)plan_cascade(std::span<const std::int32_t>(lengths),
                                    std::span<const std::uint32_t>(begin), std::span(&prefix, 1),
                                    Causal(), {}, 1, 1, 16),
                 Error);
  }
}

}  // namespace
}  // namespace quire::kernels::testing
