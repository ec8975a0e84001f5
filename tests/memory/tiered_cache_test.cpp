#include <quire/memory/tiered_cache.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/engine/override.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/executor/cpu_tiers.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/offload/tiered.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/common/temp_file.hpp"
#include "tests/memory/world.hpp"

namespace quire::memory_test {
namespace {

constexpr TierRules all_rules{.uses_disk = true, .keeps_evicted = true, .look_ahead = 2};
KvGeometry in_tiers(std::int64_t device_blocks, std::int64_t host_blocks,
                    std::int64_t disk_blocks) {
  return {.device_blocks = device_blocks,
          .host_blocks = host_blocks,
          .block_tokens = 4,
          .disk_blocks = disk_blocks,
          .tiers = all_rules};
}

/// The numbers of a world as bytes of real tiers, with a disk that fails now and then.
class Bytes {
 public:
  Bytes(const KvGeometry& g, Rng& rng, bool)
      : block_tokens_(static_cast<std::size_t>(g.block_tokens.value)),
        device_(static_cast<std::size_t>(g.device_blocks.value) * block_tokens_),
        tiers_(with_overlap(g, rng.below(2) == 0), 8 * block_tokens_, {}, 2) {
    DiskTierOptions options;
    options.directory = dir_.path();
    options.io_uring = rng.below(2) == 0;
    options.warn = [](const std::string&) {};
    options.fault = [dice = Rng(rng.below(1u << 30))](disk::Op, std::string_view, std::uint64_t,
                                                      std::size_t bytes) mutable {
      disk::Fault f;
      if (dice.below(30) != 0) return f;
      constexpr disk::Fault::Kind kinds[] = {disk::Fault::Kind::error, disk::Fault::Kind::tear,
                                             disk::Fault::Kind::flip};
      f = {kinds[dice.below(3)], EIO, dice.below(bytes)};
      return f;
    };
    tiers_.open_disk(options, g, 11);
  }
  void move(const StepPlan& plan, StepResult& result) {
    const auto block = [this](BlockId b) {
      return std::as_writable_bytes(
          std::span(device_).subspan(b.value * block_tokens_, block_tokens_));
    };
    tiers_.move(plan, block, result);
    for (const BlockCopy& c : plan.copies) {
      std::memcpy(block(c.to).data(), block(c.from).data(), 8 * block_tokens_);
    }
    tiers_.wait();
  }
  std::uint64_t& at(const BlockTable& table, std::int64_t token) {
    const auto t = static_cast<std::size_t>(token);
    return device_.at(table.blocks()[t / block_tokens_].value * block_tokens_ + t % block_tokens_);
  }
  [[nodiscard]] std::uint64_t last_of(BlockId b) const {
    return device_.at((b.value + 1) * block_tokens_ - 1);
  }

 private:
  static KvGeometry with_overlap(KvGeometry g, bool overlaps) {
    g.tiers.overlaps = overlaps;
    return g;
  }
  testing::TempDir dir_;
  std::size_t block_tokens_;
  std::vector<std::uint64_t> device_;
  executor::CpuTiers tiers_;
};

template <class C, class Contents>
void fuzz(std::uint64_t seed, std::int64_t operations, std::int64_t length) {
  Rng rng(seed);
  TierCounters total;
  std::int64_t recoveries = 0;
  for (std::int64_t done = 0; done < operations; done += length) {
    KvGeometry g{.device_blocks = 1 + static_cast<std::int64_t>(rng.below(16)),
                 .host_blocks = static_cast<std::int64_t>(rng.below(8)),
                 .block_tokens = C::BlockSize::tokens,
                 .disk_blocks = static_cast<std::int64_t>(rng.below(16)),
                 .tiers = all_rules};
    World<C, Contents> world(rng, g, rng.below(2) == 0 ? 0.0 : 0.1, true);
    for (std::int64_t i = 0; i < length; ++i) {
      world.act();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " operation " << done + i;
    }
    world.leave_all();
    total.demoted += world.counters().demoted;
    total.spilled += world.counters().spilled;
    total.host_fetched += world.counters().host_fetched;
    total.disk_fetched += world.counters().disk_fetched;
    total.prefetched += world.counters().prefetched;
    recoveries += world.recoveries;
  }
  EXPECT_GT(total.demoted, 0);
  EXPECT_GT(total.spilled, 0);
  EXPECT_GT(total.host_fetched, 0);
  EXPECT_GT(total.disk_fetched, 0);
  EXPECT_GT(total.prefetched, 0);
  EXPECT_GT(recoveries, 0);
}

using Cached = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>>;
using Radix = with<presets::VllmPrefixCache, set_block_size<BlockSize<2>>,
                   set_eviction<eviction::Fifo>, set_prefix_index<prefix_index::RadixTree>>;
/// All texts collide, so that only the tokens tell them apart.
struct OneOfFour {
  std::uint64_t operator()(std::span<const TokenId> tokens, std::uint64_t) const {
    return tokens[0] & 3;
  }
};
using Colliding = with<Cached, set_prefix_index<prefix_index::BasicHashChain<OneOfFour>>>;

// Ten million operations in all at QUIRE_FUZZ_SCALE=100.
TEST(TieredCacheFuzz, KeepsEveryToken) {
  fuzz<Cached, Numbers>(1, testing::fuzz_count(std::int64_t{50'000}), 2000);
}
TEST(TieredCacheFuzz, KeepsEveryTokenWithARadixTreeAndFifo) {
  fuzz<Radix, Numbers>(2, testing::fuzz_count(std::int64_t{30'000}), 2000);
}
TEST(TieredCacheFuzz, KeepsEveryTokenWhereHashesCollide) {
  fuzz<Colliding, Numbers>(3, testing::fuzz_count(std::int64_t{10'000}), 1000);
}
TEST(TieredCacheFuzz, KeepsEveryTokenOfRealTiersThatFail) {
  fuzz<Cached, Bytes>(4, testing::fuzz_count(std::int64_t{10'000}), 2000);
}

SequenceGroup tiered_group_of(std::vector<TokenId> prompt) {
  SequenceGroup g;
  g.request.prompt_length = static_cast<std::int64_t>(prompt.size());
  g.sequences.resize(1);
  g.sequences[0].length = g.request.prompt_length;
  g.sequences[0].tokens = std::move(prompt);
  return g;
}
std::vector<TokenId> text(std::size_t length, TokenId first) {
  std::vector<TokenId> out(length);
  std::iota(out.begin(), out.end(), first);
  return out;
}
using Memory = PagedMemory<Cached>;

/// Admits, computes and lets go of a text, and returns the plan.
StepPlan pass(Memory& memory, std::vector<TokenId> tokens) {
  SequenceGroup g = tiered_group_of(std::move(tokens));
  StepPlan plan;
  memory.begin_step(plan);
  EXPECT_TRUE(memory.admit(g, 1000));
  memory.end_step(plan);
  g.sequences[0].computed = g.sequences[0].length;
  memory.publish(g, g.sequences[0]);
  memory.release(g.sequences[0]);
  return plan;
}

TEST(TieredCache, AnEvictedPrefixGoesDownAndIsFoundThere) {
  Memory memory(in_tiers(3, 2, 4), model::llama_7b, 0.0);
  EXPECT_TRUE(pass(memory, text(12, 0)).swap_out.empty());
  const StepPlan second = pass(memory, text(12, 100));
  EXPECT_EQ(second.swap_out.size(), 3u);  // the last block first
  EXPECT_EQ(second.evicted.size(), 3u);
  EXPECT_EQ(second.records.size(), 1u) << "two on the host, one on disk";
  SequenceGroup back = tiered_group_of(text(12, 0));
  EXPECT_EQ(memory.cached_prefix(back), Tokens{8}) << "the last token is always computed";
  StepPlan plan;
  memory.begin_step(plan);
  ASSERT_TRUE(memory.admit(back, 1000));
  memory.end_step(plan);
  EXPECT_EQ(back.sequences[0].computed, Tokens{8});
  EXPECT_EQ(plan.swap_in.size(), 2u);
}

TEST(TieredCache, CountsWhereEvictedBlocksWent) {
  Memory memory(in_tiers(3, 2, 1), model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  pass(memory, text(12, 100));  // two blocks to the host, one to disk
  EXPECT_EQ(memory.tiers().counters().demoted, 3);
  EXPECT_EQ(memory.tiers().counters().spilled, 0);
  EXPECT_EQ(memory.tiers().counters().dropped, 0);
  Memory smaller(in_tiers(3, 2, 0), model::llama_7b, 0.0);
  pass(smaller, text(12, 0));
  pass(smaller, text(12, 100));  // the third has no place
  EXPECT_EQ(smaller.tiers().counters().demoted, 2);
  EXPECT_EQ(smaller.tiers().counters().dropped, 1);
}

TEST(TieredCache, TextsThatAreGoneLeaveRoomForOthers) {
  Memory memory(in_tiers(6, 2, 0), model::llama_7b, 0.0);
  for (TokenId first = 0; first < 3000; first += 100) {
    pass(memory, text(12, first));
    pass(memory, text(12, first + 50));
    pass(memory, text(24, first + 10'000));  // for which both go, and the host takes two blocks
  }
  pass(memory, text(8, 100));
  pass(memory, text(16, 500));
  pass(memory, text(8, 700));  // the first of the three goes down
  EXPECT_EQ(memory.cached_prefix(tiered_group_of(text(9, 100))), Tokens{8});
}

TEST(TieredCache, WhatWasFetchedGoesDownAgainForNothing) {
  Memory memory(in_tiers(3, 8, 0), model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  pass(memory, text(12, 100));
  pass(memory, text(12, 0));  // fetches two, computes one
  const StepPlan plan = pass(memory, text(12, 100));
  EXPECT_TRUE(plan.swap_out.empty());
  EXPECT_EQ(memory.tiers().counters().still_below, 3);
}

TEST(TieredCache, ALostBlockIsNotOfferedAgain) {
  Memory memory(in_tiers(3, 8, 0), model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  const StepPlan down = pass(memory, text(12, 100));
  const SequenceGroup back = tiered_group_of(text(12, 0));
  EXPECT_EQ(memory.cached_prefix(back), Tokens{8});
  memory.on_lost(down.swap_out[1].host);  // the second block of the text
  EXPECT_EQ(memory.cached_prefix(back), Tokens{4});
}

TEST(TieredCache, TenantsWithDifferentSaltsShareNothing) {
  Memory memory(in_tiers(3, 8, 0), model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  pass(memory, text(12, 100));
  SequenceGroup other = tiered_group_of(text(12, 0));
  other.request.salt = 9;
  EXPECT_EQ(memory.cached_prefix(other), Tokens{0});
}

TEST(TieredCache, PersistsBeginningsFirstAndRestoresWhatContinuesThem) {
  const KvGeometry g{.device_blocks = 8,
                     .host_blocks = 4,
                     .block_tokens = 4,
                     .disk_blocks = 3,
                     .tiers = all_rules};
  Memory memory(g, model::llama_7b, 0.0);
  pass(memory, text(20, 0));
  StepPlan plan;
  memory.begin_step(plan);
  memory.persist();
  memory.end_step(plan);
  ASSERT_EQ(plan.records.size(), 3u) << "as many as there is room for";
  std::vector<StoredBlock> stored;
  for (const TierRecord& r : plan.records) {
    stored.push_back(
        {BlockId{r.slot.value - 4}, r.id, r.parent, r.salt, {r.tokens.begin(), r.tokens.end()}});
  }
  EXPECT_EQ(stored[0].parent, 0u);
  {
    Memory next(g, model::llama_7b, 0.0);
    std::swap(stored[0], stored[2]);  // in any order
    next.restore(stored);
    EXPECT_EQ(next.cached_prefix(tiered_group_of(text(20, 0))), Tokens{12});
  }
  std::erase_if(stored, [](const StoredBlock& b) { return b.parent == 0; });
  Memory next(g, model::llama_7b, 0.0);
  next.restore(stored);
  EXPECT_EQ(next.cached_prefix(tiered_group_of(text(20, 0))), Tokens{0}) << "without its beginning";
  EXPECT_EQ(next.tiers().counters().restored, 0);
}

}  // namespace
}  // namespace quire::memory_test
