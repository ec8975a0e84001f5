#include <quire/memory/paged_memory.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <quire/admission/reuse_threshold.hpp>
#include <quire/admission/tiny_lfu.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/override.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/priority.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/memory/world.hpp"

namespace quire::memory_test {
namespace {

template <class C>
void fuzz(std::uint64_t seed, std::int64_t operations) {
  Rng rng(seed);
  const std::int64_t length = 2000;  // of one world
  for (std::int64_t done = 0; done < operations; done += length) {
    const KvGeometry g{.device_blocks = 1 + static_cast<std::int64_t>(rng.below(24)),
                       .host_blocks = static_cast<std::int64_t>(rng.below(20)),
                       .block_tokens = C::BlockSize::tokens};
    World<C, Numbers> world(rng, g, rng.below(2) == 0 ? 0.0 : 0.1, false);
    for (std::int64_t i = 0; i < length; ++i) {
      world.act();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " operation " << done + i;
    }
    world.leave_all();
  }
}

using SmallBlocks = with<presets::Vllm, set_block_size<BlockSize<4>>>;
using SingleTokenBlocks = with<presets::Vllm, set_block_size<BlockSize<1>>>;
using Cached = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>>;
using CachedParts = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>,
                         set_prefix_index<prefix_index::TokenRadixTree>>;
struct EightBits {
  std::uint64_t operator()(std::span<const TokenId> tokens, std::uint64_t before) const {
    return prefix_index::Xxh3ChainHash{}(tokens, before) & 0xff;
  }
};
using CachedFifo =
    with<presets::VllmPrefixCache, set_block_size<BlockSize<2>>, set_eviction<eviction::Fifo>>;

// The bar: 10 million operations in all under AddressSanitizer, at
// QUIRE_FUZZ_SCALE=57.
TEST(PagedMemoryFuzz, KeepsEveryTokenAndEveryCount) {
  fuzz<SmallBlocks>(1, testing::fuzz_count(25'000));
}
TEST(PagedMemoryFuzz, KeepsEveryTokenAndEveryCountInBlocksOfOne) {
  fuzz<SingleTokenBlocks>(2, testing::fuzz_count(25'000));
}
TEST(PagedMemoryFuzz, KeepsEveryTokenAndEveryCountWithAPrefixIndex) {
  fuzz<Cached>(3, testing::fuzz_count(25'000));
}
TEST(PagedMemoryFuzz, KeepsEveryTokenAndEveryCountWithAPrefixIndexAndFifo) {
  fuzz<CachedFifo>(4, testing::fuzz_count(25'000));
}
TEST(PagedMemoryFuzz, KeepsEveryTokenAndEveryCountWithAnAdmissionPolicy) {
  fuzz<with<Cached, set_admission<admission::ReuseThreshold>>>(5, testing::fuzz_count(12'000));
  fuzz<with<CachedFifo, set_admission<admission::TinyLfu>>>(6, testing::fuzz_count(12'000));
}

TEST(PagedMemoryFuzz, KeepsEveryTokenAndEveryCountWithPartsOfBlocks) {
  fuzz<CachedParts>(7, testing::fuzz_count(25'000));
  fuzz<with<CachedParts, set_admission<admission::TinyLfu>>>(8, testing::fuzz_count(5'000));
}
// Blocks of two tenants have one of 256 keys, and what a block holds tells the tenant.
TEST(PagedMemoryFuzz, TwoTenantsNeverShareABlockUnderForcedCollisions) {
  using Weak = prefix_index::BasicHashChain<EightBits>;
  using WeakTree = prefix_index::BasicRadixTree<EightBits>;
  using WeakTokenTree = prefix_index::BasicTokenRadixTree<EightBits>;
  fuzz<with<Cached, set_prefix_index<Weak>>>(9, testing::fuzz_count(8'000));
  fuzz<with<Cached, set_prefix_index<WeakTree>>>(10, testing::fuzz_count(8'000));
  fuzz<with<CachedParts, set_prefix_index<WeakTokenTree>>>(11, testing::fuzz_count(8'000));
}

/// A running group of one sequence with the given prompt.
SequenceGroup group_of(std::vector<TokenId> prompt) {
  SequenceGroup g;
  g.request.prompt_length = static_cast<std::int64_t>(prompt.size());
  g.sequences.resize(1);
  g.sequences[0].length = g.request.prompt_length;
  g.sequences[0].tokens = std::move(prompt);
  return g;
}

TEST(PagedMemory, RejectsOnlyWhatAnEmptyPoolCannotHold) {
  const PagedMemory<SmallBlocks> memory({4, 0, 4}, model::llama_7b, 0.5);
  SequenceGroup g = group_of(std::vector<TokenId>(15));
  g.request.sampling.max_tokens = 2;
  EXPECT_FALSE(memory.rejects(g, 100).has_value());
  g = group_of(std::vector<TokenId>(16));
  g.request.sampling.max_tokens = 2;  // the second output token needs a slot for the first
  EXPECT_TRUE(memory.rejects(g, 100).has_value());
  g.request.sampling.max_tokens = 1;  // the only output token is never computed
  EXPECT_FALSE(memory.rejects(g, 100).has_value());
}

TEST(PagedMemory, KeepsTheWatermarkFreeUnlessThePoolIsIdle) {
  PagedMemory<SmallBlocks> memory({10, 0, 4}, model::llama_7b, 0.2);
  SequenceGroup a = group_of(std::vector<TokenId>(4));
  SequenceGroup b = group_of(std::vector<TokenId>(32));
  SequenceGroup c = group_of(std::vector<TokenId>(28));
  ASSERT_TRUE(memory.admit(a, 100));
  EXPECT_FALSE(memory.admit(b, 100));  // 8 of the 9 free blocks would leave 1
  EXPECT_EQ(memory.pool().available(), BlockCount{9});
  EXPECT_TRUE(memory.admit(c, 100));
  memory.release(a.sequences[0]);
  memory.release(c.sequences[0]);
  SequenceGroup d = group_of(std::vector<TokenId>(40));
  EXPECT_TRUE(memory.admit(d, 100));
}

MemoryUsage usage_of(const PagedMemory<SmallBlocks>& memory, const SequenceGroup& g, Tokens end) {
  MemoryUsage usage;
  memory.add_usage(g, end, usage);
  memory.finish_usage(usage);
  return usage;
}

TEST(PagedMemory, AccountsForEverySlotOfItsBlocks) {
  PagedMemory<SmallBlocks> memory({16, 16, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of(std::vector<TokenId>(10));
  ASSERT_TRUE(memory.admit(g, 100));
  auto expect = [&](Tokens end, std::int64_t states, std::int64_t reserved, std::int64_t internal,
                    std::int64_t blocks, std::int64_t entries) {
    const MemoryUsage u = usage_of(memory, g, end);
    EXPECT_EQ(u.token_states, Tokens{states});
    EXPECT_EQ(u.reserved, Tokens{reserved});
    EXPECT_EQ(u.internal, Tokens{internal});
    EXPECT_EQ(u.rounding, Tokens{0});
    EXPECT_EQ(u.free, Tokens{64 - 4 * blocks});
    EXPECT_EQ(u.capacity, Tokens{64});
    EXPECT_EQ(u.physical_blocks, BlockCount{blocks});
    EXPECT_EQ(u.logical_blocks, BlockCount{entries});
    EXPECT_EQ(u.swapped, Tokens{0});
  };
  expect(11, 0, 11, 1, 3, 3);  // nothing is computed yet, and one slot never will be
  g.sequences[0].computed = 10;
  expect(15, 10, 2, 0, 3, 3);
  expect(11, 10, 1, 1, 3, 3);
  expect(10, 10, 0, 2, 3, 3);
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  expect(15, 10, 2, 0, 3, 6);  // shared slots count once
  expect(11, 10, 1, 1, 3, 6);
  for (Sequence& s : g.sequences) s.length = 11;
  StepPlan plan;
  ASSERT_TRUE(memory.grow(g, std::vector<Tokens>{1, 1}, plan));
  for (Sequence& s : g.sequences) s.computed = 11;
  expect(15, 8 + 3 + 3, 1 + 1, 0, 4, 6);  // two shared blocks, and a last one each
  expect(11, 8 + 3 + 3, 0, 1 + 1, 4, 6);
  ASSERT_TRUE(memory.swap_out(g, plan));
  g.status = GroupStatus::swapped;
  const MemoryUsage away = usage_of(memory, g, 15);
  EXPECT_EQ(away.swapped, Tokens{8 + 3 + 3});
  EXPECT_EQ(away.free, Tokens{64});
  EXPECT_EQ(away.token_states, Tokens{0});
}

TEST(PagedMemory, KeepsTheWatermarkFreeWhenAGroupComesBackUnlessThePoolIsIdle) {
  PagedMemory<SmallBlocks> memory({10, 10, 4}, model::llama_7b, 0.2);
  SequenceGroup a = group_of(std::vector<TokenId>(4)), b = group_of(std::vector<TokenId>(35));
  StepPlan plan;
  ASSERT_TRUE(memory.admit(b, 100));
  b.sequences[0].computed = 35;
  ASSERT_TRUE(memory.swap_out(b, plan));
  ASSERT_TRUE(memory.admit(a, 100));
  EXPECT_FALSE(memory.swap_in(b, plan));  // it takes all of the 9 free blocks
  EXPECT_EQ(memory.pool().available(), BlockCount{9});
  memory.release(a.sequences[0]);
  SequenceGroup c = group_of(std::vector<TokenId>(27));
  ASSERT_TRUE(memory.swap_in(b, plan));  // nothing else runs, so 1 free block is enough
  memory.release(b.sequences[0]);
  ASSERT_TRUE(memory.admit(c, 100));
  c.sequences[0].computed = 27;
  ASSERT_TRUE(memory.swap_out(c, plan));
  ASSERT_TRUE(memory.admit(a, 100));
  EXPECT_TRUE(memory.swap_in(c, plan));  // 7 of 9 leave 2
}

TEST(PagedMemory, ABlockThatTwoSequencesShareIsSwappedOnce) {
  PagedMemory<SmallBlocks> memory({8, 8, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of(std::vector<TokenId>(7));
  ASSERT_TRUE(memory.admit(g, 100));
  g.sequences[0].computed = 7;
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  EXPECT_EQ(memory.distinct_blocks(g), BlockCount{2});
  StepPlan plan;
  ASSERT_TRUE(memory.swap_out(g, plan));
  EXPECT_EQ(plan.swap_out.size(), 2u);
  EXPECT_EQ(memory.pool().available(), BlockCount{8});
  EXPECT_EQ(memory.host_free(), BlockCount{6});
  for (Sequence& s : g.sequences) {
    s.length += 1;
    EXPECT_EQ(s.computed, Tokens{7});
  }
  ASSERT_TRUE(memory.swap_in(g, plan));
  EXPECT_EQ(plan.swap_in.size(), 2u);
  EXPECT_EQ(g.sequences[0].tables[0][0], g.sequences[1].tables[0][0]);
  EXPECT_EQ(memory.pool().references(g.sequences[0].tables[0][0]), 2u);
  EXPECT_EQ(memory.host_free(), BlockCount{8});
}

TEST(PagedMemory, BringsBackAGroupThatFillsThePoolButForTheBlockItNeeds) {
  PagedMemory<SmallBlocks> memory({5, 8, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of(std::vector<TokenId>(14));
  ASSERT_TRUE(memory.admit(g, 100));
  g.sequences[0].computed = 14;
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  g.sequences[2].finish = FinishReason::stop;
  memory.release(g.sequences[2]);
  for (Sequence& s : g.sequences) s.length += 1;
  StepPlan plan;
  ASSERT_TRUE(memory.swap_out(g, plan));
  // 4 blocks come back and one of the two that share the last needs a copy: 5 in all
  EXPECT_TRUE(memory.swap_in(g, plan));
  EXPECT_TRUE(memory.grow(g, std::vector<Tokens>{1, 1, 0}, plan));
  EXPECT_EQ(plan.copies.size(), 1u);
}

TEST(PagedMemory, ARecomputedGroupSharesItsPromptAgain) {
  PagedMemory<SmallBlocks> memory({16, 0, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of(std::vector<TokenId>(10));
  g.sequences.push_back(g.sequences[0]);
  for (Sequence& s : g.sequences) {
    s.tokens.resize(13);
    s.length = 13;
  }
  ASSERT_TRUE(memory.admit(g, 100));
  EXPECT_EQ(g.sequences[1].shared, Tokens{8});
  EXPECT_EQ(g.sequences[1].computed, Tokens{8});
  EXPECT_EQ(memory.pool().referenced(), BlockCount{6});  // 2 shared, 2 each alone
  EXPECT_EQ(g.sequences[0].tables[0][1], g.sequences[1].tables[0][1]);
  EXPECT_NE(g.sequences[0].tables[0][2], g.sequences[1].tables[0][2]);
}

TEST(PagedMemory, ASwapInTheMiddleOfARecomputeLosesNothing) {
  PagedMemory<SmallBlocks> memory({16, 16, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of(std::vector<TokenId>(10));
  g.sequences.push_back(g.sequences[0]);
  for (Sequence& s : g.sequences) {
    s.tokens.resize(13);
    s.length = 13;
  }
  ASSERT_TRUE(memory.admit(g, 100));
  g.sequences[0].computed = 3;  // a chunk; the second sequence waits for eight
  StepPlan plan;
  ASSERT_TRUE(memory.swap_out(g, plan));
  ASSERT_TRUE(memory.swap_in(g, plan));
  EXPECT_EQ(g.sequences[0].computed, Tokens{3});
  EXPECT_EQ(g.sequences[1].shared, Tokens{8});
}

TEST(PagedMemory, WithAPrefixIndexFindsAllButTheLastToken) {
  PagedMemory<Cached> memory({8, 0, 4}, model::llama_7b, 0.0);
  SequenceGroup a = group_of({1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(memory.admit(a, 100));
  a.sequences[0].computed = 8;
  memory.publish(a, a.sequences[0]);
  SequenceGroup b = group_of({1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(memory.admit(b, 100));
  EXPECT_EQ(b.sequences[0].computed, Tokens{4});  // the last block is computed to draw from it
  EXPECT_EQ(b.sequences[0].tables[0][0], a.sequences[0].tables[0][0]);
  b.sequences[0].computed = 8;
  memory.publish(b, b.sequences[0]);  // the text is known: the known block is taken over
  EXPECT_EQ(b.sequences[0].tables[0][1], a.sequences[0].tables[0][1]);
  EXPECT_EQ(memory.pool().referenced(), BlockCount{2});
  SequenceGroup other = group_of({1, 2, 3, 4, 5});
  other.request.salt = 1;
  ASSERT_TRUE(memory.admit(other, 100));
  EXPECT_EQ(other.sequences[0].computed, Tokens{0});
}

/// Runs a prompt through a memory and lets it go; how many of its tokens were found computed.
template <class Memory>
Tokens serve(Memory& memory, const std::vector<TokenId>& prompt) {
  SequenceGroup g = group_of(prompt);
  EXPECT_TRUE(memory.admit(g, 100));
  const Tokens found = g.sequences[0].computed;
  g.sequences[0].computed = g.sequences[0].length;
  memory.publish(g, g.sequences[0]);
  memory.release(g.sequences[0]);
  return found;
}

TEST(PagedMemory, ATextThatWasFoundIsGivenUpAfterOneThatWasNot) {
  const std::vector<TokenId> found{1, 2, 3, 4, 5, 6, 7, 8, 9},
      other{11, 12, 13, 14, 15, 16, 17, 18};
  PagedMemory<Cached> memory({5, 0, 4}, model::llama_7b, 0.0);
  EXPECT_EQ(serve(memory, found), Tokens{0});
  EXPECT_EQ(serve(memory, other), Tokens{0});
  EXPECT_EQ(serve(memory, found), Tokens{8});
  EXPECT_EQ(serve(memory, {21, 22, 23, 24, 25, 26, 27, 28}), Tokens{0});  // one block goes for it
  EXPECT_EQ(memory.cached_prefix(group_of(found)), Tokens{8});
  EXPECT_EQ(memory.cached_prefix(group_of({11, 12, 13, 14, 15, 16, 17, 18, 19})), Tokens{4});
}

TEST(PagedMemory, AnAdmissionPolicyDecidesWhatIsFoundAgain) {
  PagedMemory<with<Cached, set_admission<admission::ReuseThreshold>>> memory({8, 0, 4},
                                                                             model::llama_7b, 0.0);
  const std::vector<TokenId> text{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(serve(memory, text), Tokens{0});
  EXPECT_EQ(memory.pool().cached(), BlockCount{0});
  EXPECT_EQ(serve(memory, text), Tokens{0});  // asked for twice: kept from now on, all of it
  EXPECT_EQ(memory.pool().cached(), BlockCount{2});
  EXPECT_EQ(serve(memory, text), Tokens{8});
  EXPECT_EQ(serve(memory, {1, 2, 3, 4, 0, 0, 0, 0, 0}), Tokens{4});
  EXPECT_EQ(memory.pool().cached(), BlockCount{2});  // a new continuation is as unknown as a text
  EXPECT_EQ(serve(memory, {1, 2, 3, 4, 0, 0, 0, 0, 0}), Tokens{4});
  EXPECT_EQ(memory.pool().cached(), BlockCount{3});
}

TEST(PagedMemory, CopiesThePartOfABlockThatTwoTextsShare) {
  PagedMemory<CachedParts> memory({8, 0, 4}, model::llama_7b, 0.0);
  StepPlan plan;
  EXPECT_EQ(serve(memory, {1, 2, 3, 4, 5, 6, 7, 8, 9}), Tokens{0});
  SequenceGroup g = group_of({1, 2, 3, 4, 5, 6, 0, 0});
  ASSERT_TRUE(memory.admit(g, 100));
  EXPECT_EQ(g.sequences[0].computed, Tokens{6});
  memory.end_step(plan);
  ASSERT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(plan.copies[0].to, g.sequences[0].tables[0][1]);
  EXPECT_NE(plan.copies[0].from, plan.copies[0].to);
  EXPECT_TRUE(memory.pool().indexed(plan.copies[0].from));
  EXPECT_EQ(memory.prefix_statistics().found_in_parts, Tokens{2});
  EXPECT_EQ(memory.prefix_statistics().found_tokens, Tokens{6});
  EXPECT_EQ(memory.prefix_statistics().found_blocks, BlockCount{1});
  EXPECT_EQ(memory.prefix_statistics().asked_blocks, BlockCount{4});
  EXPECT_EQ(memory.prefix_statistics().asked_tokens, Tokens{17});
}

TEST(PagedMemory, FindsTheLastBlockOfAnEndedTextThoughItIsNotFull) {
  PagedMemory<CachedParts> memory({8, 0, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of({1, 2, 3, 4, 5, 6, 7});
  ASSERT_TRUE(memory.admit(g, 100));
  g.sequences[0].computed = 7;
  memory.publish(g, g.sequences[0]);
  memory.on_end(g, g.sequences[0], 0.0);
  memory.release(g.sequences[0]);
  EXPECT_EQ(memory.pool().cached(), BlockCount{2});
  EXPECT_EQ(serve(memory, {1, 2, 3, 4, 5, 6, 7, 8, 9}), Tokens{7});
  EXPECT_EQ(serve(memory, {1, 2, 3, 4, 5, 6, 7}), Tokens{6});  // the last one is computed
}

TEST(PagedMemory, APinKeepsAPrefixUntilItsTimeOrUntilItIsGivenUp) {
  PagedMemory<Cached> memory({10, 0, 4}, model::llama_7b, 0.0);
  const std::vector<TokenId> text{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<TokenId> other(32, 7);
  EXPECT_FALSE(memory.pin(text, 0).has_value());  // nothing is cached
  EXPECT_EQ(serve(memory, text), Tokens{0});
  const auto id = memory.pin(text, 0);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(memory.available(), BlockCount{8});
  EXPECT_EQ(serve(memory, other), Tokens{0});  // takes all that is left
  EXPECT_EQ(serve(memory, text), Tokens{8});
  EXPECT_TRUE(memory.unpin(*id));
  EXPECT_FALSE(memory.unpin(*id));
  EXPECT_EQ(memory.available(), BlockCount{10});

  ASSERT_TRUE(memory.pin(text, 0, Seconds{5.0}).has_value());
  EXPECT_FALSE(memory.pin(other, 0).has_value());  // more than a fifth of the pool
  memory.expire(4.0);
  EXPECT_EQ(memory.pins(), 1u);
  memory.expire(5.0);
  EXPECT_EQ(memory.pins(), 0u);
  EXPECT_EQ(memory.available(), BlockCount{10});
}

TEST(PagedMemory, AnIdlePoolGivesUpPinsWithATimeRatherThanARequest) {
  for (const bool for_good : {false, true}) {
    PagedMemory<Cached> memory({10, 0, 4}, model::llama_7b, 0.0);
    const std::vector<TokenId> text{1, 2, 3, 4, 5, 6, 7, 8, 9};
    serve(memory, text);
    ASSERT_TRUE(memory.pin(text, 0, for_good ? std::nullopt : std::optional(Seconds{1e9})));
    SequenceGroup large = group_of(std::vector<TokenId>(40, 3));
    EXPECT_EQ(memory.admit(large, 100), !for_good);
  }
}

TEST(PagedMemory, ARequestMayAskToBeKeptAfterItsEnd) {
  PagedMemory<Cached> memory({10, 0, 4}, model::llama_7b, 0.0);
  SequenceGroup g = group_of({1, 2, 3, 4, 5, 6, 7, 8, 9});
  g.request.keep_for = 10.0;
  ASSERT_TRUE(memory.admit(g, 100));
  g.sequences[0].computed = 9;
  memory.publish(g, g.sequences[0]);
  memory.on_end(g, g.sequences[0], 100.0);
  memory.release(g.sequences[0]);
  EXPECT_EQ(memory.available(), BlockCount{8});
  memory.expire(109.0);
  EXPECT_EQ(memory.available(), BlockCount{8});
  memory.expire(110.0);
  EXPECT_EQ(memory.available(), BlockCount{10});
  EXPECT_EQ(memory.prefix_statistics().texts_kept, 1);

  SequenceGroup longer = group_of(std::vector<TokenId>(20, 3));  // five blocks: half of the pool
  longer.request.keep_for = 10.0;
  ASSERT_TRUE(memory.admit(longer, 100));
  longer.sequences[0].computed = 20;
  memory.publish(longer, longer.sequences[0]);
  memory.on_end(longer, longer.sequences[0], 100.0);
  EXPECT_EQ(memory.pins(), 0u);
  EXPECT_EQ(memory.prefix_statistics().texts_not_kept, 1);
}

TEST(PagedMemory, PartsOfATextMayHavePrioritiesOfTheirOwn) {
  using C = with<Cached, set_eviction<eviction::Priority>>;
  const std::vector<TokenId> system{1, 2, 3, 4, 5, 6, 7, 8, 9}, other(9, 10), third(17, 11);
  for (const bool urgent : {false, true}) {
    PagedMemory<C> memory({.device_blocks = 7, .block_tokens = 4}, model::llama_7b, 0.0);
    const auto serve = [&](const std::vector<TokenId>& text, std::vector<PriorityRange> ranges) {
      SequenceGroup g = group_of(text);
      g.request.priorities = std::move(ranges);
      ASSERT_TRUE(memory.admit(g, 100));
      g.sequences[0].computed = g.sequences[0].length;
      memory.publish(g, g.sequences[0]);
      memory.release(g.sequences[0]);
    };
    serve(system, urgent ? std::vector<PriorityRange>{{.end = 8, .priority = -1}}
                         : std::vector<PriorityRange>{});
    serve(other, {});
    serve(third, {});  // five blocks, of which three are free
    EXPECT_EQ(memory.cached_prefix(group_of(system)), Tokens{urgent ? 8 : 0});
    EXPECT_EQ(memory.cached_prefix(group_of(other)), Tokens{urgent ? 0 : 8});
  }
}

TEST(PagedMemory, SiblingsThatShareABlockAskForItOnce) {
  PagedMemory<with<Cached, set_admission<admission::ReuseThreshold>>> memory({8, 0, 4},
                                                                             model::llama_7b, 0.0);
  SequenceGroup g = group_of({1, 2, 3, 4, 5});
  ASSERT_TRUE(memory.admit(g, 100));
  g.sequences[0].computed = 5;
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  for (Sequence& s : g.sequences) memory.publish(g, s);
  for (Sequence& s : g.sequences) memory.release(s);
  EXPECT_EQ(memory.pool().cached(), BlockCount{0});
}

}  // namespace
}  // namespace quire::memory_test
