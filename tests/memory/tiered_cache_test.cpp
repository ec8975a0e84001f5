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
#include "tests/memory/kv_contents.hpp"

namespace quire::memory_test {
namespace {

constexpr TierRules all_rules{.uses_disk = true, .keeps_evicted = true, .look_ahead = 2};

/// Contents as numbers; every now and then a fetch fails.
class Numbers {
 public:
  Numbers(const KvGeometry& g, Rng& rng)
      : contents_(g.device_blocks, g.host_blocks + g.disk_blocks, g.block_tokens), rng_(rng) {}
  void move(const StepPlan& plan, StepResult& result) {
    contents_.move(plan);
    for (std::uint32_t i = 0; i < plan.swap_in.size(); ++i) {
      if (rng_.below(40) != 0) continue;
      result.failed.push_back(i);
      contents_.spoil(plan.swap_in[i].device);
    }
  }
  std::uint64_t& at(const BlockTable& table, std::int64_t token) {
    return contents_.at(table, token);
  }

 private:
  KvContents contents_;
  Rng& rng_;
};

/// The same numbers as bytes of real tiers, with a disk that fails now and then.
class Bytes {
 public:
  Bytes(const KvGeometry& g, Rng& rng)
      : block_tokens_(static_cast<std::size_t>(g.block_tokens.value)),
        device_(static_cast<std::size_t>(g.device_blocks.value) * block_tokens_),
        tiers_(g, 8 * block_tokens_, {}) {
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
  }
  std::uint64_t& at(const BlockTable& table, std::int64_t token) {
    const auto t = static_cast<std::size_t>(token);
    return device_.at(table.blocks()[t / block_tokens_].value * block_tokens_ + t % block_tokens_);
  }

 private:
  testing::TempDir dir_;
  std::size_t block_tokens_;
  std::vector<std::uint64_t> device_;
  executor::CpuTiers tiers_;
};

/// Sequence groups over a memory with tiers; every operation that an engine does, in random order.
template <class C, class Contents>
class World {
 public:
  static constexpr std::int64_t block_tokens = C::BlockSize::tokens.value;

  World(Rng& rng, const KvGeometry& g)
      : rng_(rng), memory_(g, model::llama_7b, 0.0), contents_(g, rng) {}

  void act() {
    plan_.clear();
    work_ = nullptr;
    memory_.begin_step(plan_);
    const std::uint64_t what = rng_.below(100);
    SequenceGroup* running = any(GroupStatus::running);
    SequenceGroup* swapped = any(GroupStatus::swapped);
    SequenceGroup* waiting = any(GroupStatus::waiting);
    if (waiting == nullptr && groups_.size() < 6 && what < 30) {
      submit();
    } else if (waiting != nullptr && what < 30) {
      if (memory_.admit(*waiting, Tokens{1 << 20})) waiting->status = GroupStatus::running;
    } else if (swapped != nullptr && what < 40) {
      if (memory_.swap_in(*swapped, plan_)) {
        swapped->status = GroupStatus::running;
        plan_growth(*swapped, 1);
        EXPECT_NE(work_, nullptr) << "swap_in left no room to go on";
      }
    } else if (running != nullptr && what < 75) {
      plan_growth(*running, 1 + static_cast<std::int64_t>(rng_.below(6)));
    } else if (running != nullptr && what < 80) {
      fork(*running);
    } else if (running != nullptr && what < 90) {
      preempt(*running);
    } else if (waiting != nullptr && what < 94) {
      memory_.prefetch(*waiting);
    } else if (what == 94) {
      memory_.persist();
    } else if (!groups_.empty() && what < 98) {
      leave(rng_.below(groups_.size()));
    }
    memory_.end_step(plan_);
    StepResult result;
    contents_.move(plan_, result);
    recover(result);
    if (work_ != nullptr) compute();
    check();
  }

  void leave_all() {
    while (!groups_.empty()) leave(0);
    EXPECT_EQ(memory_.pool().available(), memory_.capacity());
    plan_.clear();
    memory_.begin_step(plan_);  // references of the last plan are dropped
    const auto& tiers = memory_.tiers();
    EXPECT_EQ(tiers.room(), tiers.host().capacity() + tiers.disk().capacity());
    memory_.end_step(plan_);
  }
  [[nodiscard]] const TierCounters& counters() const { return memory_.tiers().counters(); }
  std::int64_t recoveries = 0;

 private:
  SequenceGroup* any(GroupStatus status) {
    std::vector<SequenceGroup*> found;
    for (auto& g : groups_) {
      if (g->status == status) found.push_back(g.get());
    }
    return found.empty() ? nullptr : found[rng_.below(found.size())];
  }
  TokenId token() { return static_cast<TokenId>(rng_.below(2)); }
  void submit() {
    auto group = std::make_unique<SequenceGroup>();
    const auto room = static_cast<std::uint64_t>(memory_.capacity().value * block_tokens);
    Sequence& s = group->sequences.emplace_back();
    s.length = 1 + static_cast<std::int64_t>(rng_.below(std::min<std::uint64_t>(room, 24)));
    group->request.prompt_length = s.length;
    group->request.salt = rng_.below(2);
    for (std::int64_t t = 0; t < s.length.value; ++t) s.tokens.push_back(token());
    if (memory_.rejects(*group, Tokens{1 << 20})) return;
    groups_.push_back(std::move(group));
  }
  void plan_growth(SequenceGroup& group, std::int64_t tokens) {
    allotted_.assign(group.sequences.size(), Tokens{0});
    Tokens lead = -1;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& s = group.sequences[i];
      if (s.finished() || (lead >= Tokens{0} && s.shared > lead)) continue;
      allotted_[i] = std::min(Tokens{tokens}, s.remaining());
      if (lead < Tokens{0}) lead = s.computed + allotted_[i];
    }
    if (memory_.grow(group, allotted_, plan_)) work_ = &group;
  }
  void compute() {
    SequenceGroup& group = *work_;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || allotted_[i] == Tokens{0}) continue;
      std::uint64_t before = KvContents::garbage;
      for (std::int64_t t = 0; t < (s.computed + allotted_[i]).value; ++t) {
        before = KvContents::extend(before, s.tokens[static_cast<std::size_t>(t)]);
        if (t >= s.computed.value) contents_.at(s.tables[0], t) = before;
      }
      s.computed += allotted_[i];
      if (s.computed >= s.shared) s.shared = 0;
    }
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || allotted_[i] == Tokens{0}) continue;
      memory_.publish(group, s);
      if (s.remaining() == Tokens{0}) {
        group.forked = true;
        s.tokens.push_back(token());
        s.length += 1;
      }
    }
  }
  void fork(SequenceGroup& group) {
    if (group.unfinished() >= 3 || !group.forked) return;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& parent = group.sequences[i];
      if (parent.finished() || parent.remaining() != Tokens{1} || parent.shared > Tokens{0})
        continue;
      Sequence child = memory_.fork(group, parent);
      child.tokens.back() = token();
      group.sequences.push_back(std::move(child));
      return;
    }
  }
  void preempt(SequenceGroup& group) {
    if (rng_.below(2) == 0 && memory_.swap_out(group, plan_)) {
      group.status = GroupStatus::swapped;
    } else {
      drop(group);
    }
  }
  void drop(SequenceGroup& group) {
    for (Sequence& s : group.sequences) memory_.release(s);
    group.status = GroupStatus::waiting;
  }
  void leave(std::size_t i) {
    for (Sequence& s : groups_[i]->sequences) memory_.release(s);
    groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  /// As the control plane does with blocks that did not come back.
  void recover(const StepResult& result) {
    for (const BlockId slot : result.lost) memory_.on_lost(slot);
    std::vector<BlockId> bad;
    for (const std::uint32_t i : result.failed) {
      bad.push_back(plan_.swap_in[i].device);
      memory_.on_lost(plan_.swap_in[i].host);
    }
    for (const BlockCopy& c : plan_.copies) {
      if (std::find(bad.begin(), bad.end(), c.from) != bad.end()) bad.push_back(c.to);
    }
    for (auto& g : groups_) {
      if (g->status != GroupStatus::running) continue;
      const bool hit =
          std::any_of(g->sequences.begin(), g->sequences.end(), [&](const Sequence& s) {
            const auto blocks = s.tables[0].blocks();
            return std::find_first_of(blocks.begin(), blocks.end(), bad.begin(), bad.end()) !=
                   blocks.end();
          });
      if (!hit) continue;
      if (work_ == g.get()) work_ = nullptr;
      drop(*g);
      ++recoveries;
    }
  }
  void check() {
    for (const auto& g : groups_) {
      if (g->status != GroupStatus::running) continue;
      for (const Sequence& s : g->sequences) {
        if (s.shared > Tokens{0}) continue;
        std::uint64_t before = KvContents::garbage;
        for (std::int64_t t = 0; t < s.computed.value; ++t) {
          before = KvContents::extend(before, s.tokens[static_cast<std::size_t>(t)]);
          ASSERT_EQ(contents_.at(s.tables[0], t), before) << "token " << t << " was lost";
        }
      }
    }
  }

  Rng& rng_;
  PagedMemory<C> memory_;
  Contents contents_;
  StepPlan plan_;
  SequenceGroup* work_ = nullptr;
  std::vector<Tokens> allotted_;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
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
    World<C, Contents> world(rng, g);
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

SequenceGroup group_of(std::vector<TokenId> prompt) {
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
  SequenceGroup g = group_of(std::move(tokens));
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
  Memory memory({.device_blocks = 3,
                 .host_blocks = 2,
                 .block_tokens = 4,
                 .disk_blocks = 4,
                 .tiers = all_rules},
                model::llama_7b, 0.0);
  EXPECT_TRUE(pass(memory, text(12, 0)).swap_out.empty());
  const StepPlan second = pass(memory, text(12, 100));
  EXPECT_EQ(second.swap_out.size(), 3u);  // the last block first
  EXPECT_EQ(second.evicted.size(), 3u);
  EXPECT_EQ(second.records.size(), 1u) << "two on the host, one on disk";
  SequenceGroup back = group_of(text(12, 0));
  EXPECT_EQ(memory.cached_prefix(back), Tokens{8}) << "the last token is always computed";
  StepPlan plan;
  memory.begin_step(plan);
  ASSERT_TRUE(memory.admit(back, 1000));
  memory.end_step(plan);
  EXPECT_EQ(back.sequences[0].computed, Tokens{8});
  EXPECT_EQ(plan.swap_in.size(), 2u);
}

TEST(TieredCache, WhatWasFetchedGoesDownAgainForNothing) {
  Memory memory({.device_blocks = 3,
                 .host_blocks = 8,
                 .block_tokens = 4,
                 .disk_blocks = 0,
                 .tiers = all_rules},
                model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  pass(memory, text(12, 100));
  pass(memory, text(12, 0));  // fetches two, computes one
  const StepPlan plan = pass(memory, text(12, 100));
  EXPECT_TRUE(plan.swap_out.empty());
  EXPECT_EQ(memory.tiers().counters().still_below, 3);
}

TEST(TieredCache, ALostBlockIsNotOfferedAgain) {
  Memory memory({.device_blocks = 3,
                 .host_blocks = 8,
                 .block_tokens = 4,
                 .disk_blocks = 0,
                 .tiers = all_rules},
                model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  const StepPlan down = pass(memory, text(12, 100));
  const SequenceGroup back = group_of(text(12, 0));
  EXPECT_EQ(memory.cached_prefix(back), Tokens{8});
  memory.on_lost(down.swap_out[1].host);  // the second block of the text
  EXPECT_EQ(memory.cached_prefix(back), Tokens{4});
}

TEST(TieredCache, TenantsWithDifferentSaltsShareNothing) {
  Memory memory({.device_blocks = 3,
                 .host_blocks = 8,
                 .block_tokens = 4,
                 .disk_blocks = 0,
                 .tiers = all_rules},
                model::llama_7b, 0.0);
  pass(memory, text(12, 0));
  pass(memory, text(12, 100));
  SequenceGroup other = group_of(text(12, 0));
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
    EXPECT_EQ(next.cached_prefix(group_of(text(20, 0))), Tokens{12});
  }
  std::erase_if(stored, [](const StoredBlock& b) { return b.parent == 0; });
  Memory next(g, model::llama_7b, 0.0);
  next.restore(stored);
  EXPECT_EQ(next.cached_prefix(group_of(text(20, 0))), Tokens{0}) << "without its beginning";
  EXPECT_EQ(next.tiers().counters().restored, 0);
}

}  // namespace
}  // namespace quire::memory_test
