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
#include <quire/model/known_shapes.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/memory/kv_contents.hpp"
#include "tests/memory/naive_usage.hpp"

namespace quire::memory_test {
namespace {

/// Sequence groups over one paged memory, with what each token's KV must be kept beside them.
/// Every public operation is done in random order, as an engine may do it.
template <class C>
class World {
 public:
  static constexpr std::int64_t block_tokens = C::BlockSize::tokens.value;

  World(Rng& rng, BlockCount blocks, BlockCount host, double watermark)
      : rng_(rng),
        memory_({blocks, host, block_tokens}, model::llama_7b, watermark),
        contents_(blocks, host, block_tokens),
        host_(host) {}

  void act() {
    plan_.clear();
    const std::uint64_t what = rng_.below(100);
    SequenceGroup* running = any(GroupStatus::running);
    SequenceGroup* swapped = any(GroupStatus::swapped);
    SequenceGroup* waiting = any(GroupStatus::waiting);
    if (waiting == nullptr && groups_.size() < 6 && what < 30) {
      submit();
    } else if (waiting != nullptr && what < 30) {
      const std::size_t before = memory_.pins();
      if (memory_.admit(*waiting, Tokens{1 << 20})) waiting->status = GroupStatus::running;
      if (memory_.pins() < before) {  // an idle pool needed what pins with a time held
        std::erase_if(pins_, [](const Pin& pin) { return pin.until.has_value(); });
      }
    } else if (swapped != nullptr && what < 40) {
      if (memory_.swap_in(*swapped, plan_)) {
        swapped->status = GroupStatus::running;
        contents_.move(plan_);
        plan_.clear();
        compute(*swapped, Tokens{1}, true);  // swap_in promises that there is room to go on
        if (::testing::Test::HasFailure()) return;
      }
    } else if (running != nullptr && what < 75) {
      compute(*running, Tokens{1 + static_cast<std::int64_t>(rng_.below(6))});
    } else if (running != nullptr && what < 82) {
      fork(*running);
    } else if (running != nullptr && what < 88) {
      end_one(*running);
    } else if (running != nullptr && what < 93) {
      preempt(*running);
    } else if (!groups_.empty() && what < 97) {
      leave(rng_.below(groups_.size()));
    } else if (what < 99) {
      pin();
    } else if (!pins_.empty()) {
      const std::size_t i = rng_.below(pins_.size());
      EXPECT_TRUE(memory_.unpin(pins_[i].id));
      pins_.erase(pins_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    memory_.end_step(plan_);
    contents_.move(plan_);
    now_ += 1;
    memory_.expire(Seconds{now_});
    std::erase_if(pins_, [this](const Pin& pin) { return pin.until && *pin.until <= now_; });
    check();
  }

  void leave_all() {
    while (!groups_.empty()) leave(0);
    check();
    for (const Pin& pin : pins_) EXPECT_TRUE(memory_.unpin(pin.id));
    pins_.clear();
    memory_.expire(Seconds{now_ + 1000});  // what ended sequences asked for
    EXPECT_EQ(memory_.pool().available(), memory_.capacity());
    EXPECT_EQ(memory_.host_free(), host_);
  }

 private:
  SequenceGroup* any(GroupStatus status) {
    std::vector<SequenceGroup*> found;
    for (auto& g : groups_) {
      if (g->status == status) found.push_back(g.get());
    }
    return found.empty() ? nullptr : found[rng_.below(found.size())];
  }

  void submit() {
    auto group = std::make_unique<SequenceGroup>();
    const auto capacity = static_cast<std::uint64_t>(memory_.capacity().value * block_tokens);
    Sequence& s = group->sequences.emplace_back();
    s.id = SequenceId{next_++};
    s.length = 1 + static_cast<std::int64_t>(rng_.below(std::min<std::uint64_t>(capacity, 24)));
    group->request.prompt_length = s.length;
    group->request.salt = rng_.below(2);
    if (rng_.below(4) == 0) group->request.keep_for = static_cast<double>(1 + rng_.below(40));
    for (std::int64_t t = 0; t < s.length.value; ++t) s.tokens.push_back(token());
    if (memory_.rejects(*group, Tokens{1 << 20})) return;
    groups_.push_back(std::move(group));
  }
  struct Pin {
    PinId id;
    std::optional<double> until;
    std::vector<BlockId> blocks;
    std::vector<std::uint64_t> contents;  // that the blocks must keep
  };

  /// Pins what is cached of some group's text; what it holds must not change while it is pinned.
  void pin() {
    if (groups_.empty()) return;
    const SequenceGroup& g = *groups_[rng_.below(groups_.size())];
    const Sequence& s = g.sequences[rng_.below(g.sequences.size())];
    Pin pin;
    if (rng_.below(2) == 0) pin.until = now_ + static_cast<double>(1 + rng_.below(60));
    memory_.pool().match(s.tokens, g.request.salt, pin.blocks);
    std::optional<Seconds> until;
    if (pin.until) until = Seconds{*pin.until};
    const auto id = memory_.pin(s.tokens, g.request.salt, until);
    EXPECT_FALSE(id && pin.blocks.empty());
    if (!id) return;
    pin.id = *id;
    for (const BlockId b : pin.blocks) pin.contents.push_back(contents_.last_of(b));
    pins_.push_back(std::move(pin));
  }

  std::uint64_t start(const SequenceGroup& g) const {
    return KvContents::extend(KvContents::garbage, static_cast<TokenId>(g.request.salt));
  }
  TokenId token() { return static_cast<TokenId>(rng_.below(2)); }

  /// Grows a group by up to `tokens` a sequence, writes them, and appends a token to those that
  /// have nothing left to compute, as sampling does.
  void compute(SequenceGroup& group, Tokens tokens, bool back_from_host = false) {
    std::vector<Tokens> allotted(group.sequences.size());
    Tokens lead = -1;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& s = group.sequences[i];
      if (s.finished() || (lead >= Tokens{0} && s.shared > lead)) continue;
      allotted[i] = std::min(tokens, s.remaining());
      if (lead < Tokens{0}) lead = s.computed + allotted[i];
    }
    if (!memory_.grow(group, allotted, plan_)) {
      EXPECT_FALSE(back_from_host) << "swap_in left no room to go on";
      return;
    }
    contents_.move(plan_);
    plan_.clear();
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || allotted[i] == Tokens{0}) continue;
      std::uint64_t before = start(group);
      for (std::int64_t t = 0; t < (s.computed + allotted[i]).value; ++t) {
        before = KvContents::extend(before, s.tokens[static_cast<std::size_t>(t)]);
        if (t >= s.computed.value) contents_.at(s.tables[0], t) = before;
      }
      s.computed += allotted[i];
      if (s.computed >= s.shared) s.shared = 0;
    }
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || allotted[i] == Tokens{0}) continue;
      memory_.publish(group, s);
      if (s.remaining() == Tokens{0}) {
        group.forked = true;
        s.tokens.push_back(token());
        s.length += 1;
      }
    }
  }

  void fork(SequenceGroup& group) {
    if (group.unfinished() >= 4 || !group.forked) return;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& parent = group.sequences[i];
      if (parent.finished() || parent.remaining() != Tokens{1}) continue;
      if (parent.shared > Tokens{0} || rng_.below(2) == 0) continue;  // not drawn from yet
      Sequence child = memory_.fork(group, parent);
      child.id = SequenceId{next_++};
      child.tokens.back() = token();
      group.sequences.push_back(std::move(child));
      return;
    }
  }

  void end_one(SequenceGroup& group) {
    const bool settled = std::all_of(group.sequences.begin(), group.sequences.end(),
                                     [](const Sequence& s) { return s.shared == Tokens{0}; });
    if (group.unfinished() < 2 || !settled) return;
    for (Sequence& s : group.sequences) {
      if (s.finished() || rng_.below(2) == 0) continue;
      memory_.on_end(group, s, Seconds{now_});
      memory_.release(s);
      s.finish = FinishReason::stop;
      return;
    }
  }

  void preempt(SequenceGroup& group) {
    if (rng_.below(2) == 0) {
      const bool fits = memory_.distinct_blocks(group) <= memory_.host_free();
      EXPECT_EQ(memory_.swap_out(group, plan_), fits);
      if (!fits) return;
      group.status = GroupStatus::swapped;
      return;
    }
    for (Sequence& s : group.sequences) memory_.release(s);
    group.status = GroupStatus::waiting;
  }

  void leave(std::size_t i) {
    for (Sequence& s : groups_[i]->sequences) {
      if (rng_.below(4) > 0) memory_.on_end(*groups_[i], s, Seconds{now_});  // or lost
      memory_.release(s);
    }
    memory_.release_spares(*groups_[i]);
    groups_.erase(groups_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  /// Counts equal the table entries, every computed token reads back, and usage is what counting
  /// slot by slot finds.
  void check() {
    references_.assign(static_cast<std::size_t>(memory_.capacity().value), 0);
    std::vector<BlockId> on_host;
    MemoryUsage usage;
    NaiveUsage naive(memory_.capacity(), block_tokens);
    for (const auto& g : groups_) {
      for (const Sequence& s : g->sequences) {
        for (const BlockId b : s.tables[0].blocks()) ++references_[b.value];
        on_host.insert(on_host.end(), s.host_blocks.begin(), s.host_blocks.end());
        if (s.finished() || g->status == GroupStatus::waiting) {
          ASSERT_TRUE(s.tables[0].empty() && s.host_blocks.empty());
        }
        if (g->status == GroupStatus::swapped) {
          ASSERT_TRUE(s.tables[0].empty());
        }
        if (g->status != GroupStatus::running || s.shared > Tokens{0}) continue;
        std::uint64_t before = start(*g);
        for (std::int64_t t = 0; t < s.computed.value; ++t) {
          before = KvContents::extend(before, s.tokens[static_cast<std::size_t>(t)]);
          ASSERT_EQ(contents_.at(s.tables[0], t), before) << "token " << t << " was lost";
        }
      }
      if (g->status != GroupStatus::waiting) {
        // requests that end within the block, beyond it, and that have ended
        const Tokens end = g->sequences[0].length + static_cast<std::int64_t>(rng_.below(7)) - 1;
        memory_.add_usage(*g, end, usage);
        naive.add(*g, end);
      }
    }
    std::int64_t referenced = 0;
    for (std::uint32_t b = 0; b < references_.size(); ++b) {
      ASSERT_EQ(memory_.pool().references(BlockId{b}), references_[b]) << "block " << b;
      referenced += references_[b] > 0;
    }
    ASSERT_EQ(memory_.pool().referenced().value, referenced);
    std::int64_t pinned = 0, idle_pinned = 0;
    for (std::uint32_t b = 0; b < references_.size(); ++b) {
      pinned += memory_.pool().pins(BlockId{b}) > 0;
      idle_pinned += memory_.pool().pins(BlockId{b}) > 0 && references_[b] == 0;
    }
    ASSERT_EQ(memory_.pool().pinned().value, pinned);
    ASSERT_LE(pinned, memory_.capacity().value / 5);
    ASSERT_EQ(memory_.available().value, memory_.capacity().value - referenced - idle_pinned);
    for (const Pin& pin : pins_) {
      for (std::size_t i = 0; i < pin.blocks.size(); ++i) {
        ASSERT_GT(memory_.pool().pins(pin.blocks[i]), 0u);
        ASSERT_TRUE(memory_.pool().indexed(pin.blocks[i]));
        ASSERT_EQ(contents_.last_of(pin.blocks[i]), pin.contents[i]) << "a pinned block changed";
      }
    }
    std::sort(on_host.begin(), on_host.end());
    const auto distinct = std::unique(on_host.begin(), on_host.end()) - on_host.begin();
    ASSERT_EQ(memory_.host_free().value, host_.value - distinct);
    memory_.finish_usage(usage);
    naive.expect_equal(usage);
    ASSERT_EQ(usage.physical_blocks.value, referenced);
  }

  Rng& rng_;
  PagedMemory<C> memory_;
  KvContents contents_;
  BlockCount host_;
  StepPlan plan_;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  std::vector<std::uint32_t> references_;
  std::vector<Pin> pins_;
  double now_ = 0;
  std::uint64_t next_ = 0;
};

template <class C>
void fuzz(std::uint64_t seed, std::int64_t operations) {
  Rng rng(seed);
  const std::int64_t length = 2000;  // of one world
  for (std::int64_t done = 0; done < operations; done += length) {
    World<C> world(rng, 1 + static_cast<std::int64_t>(rng.below(24)),
                   static_cast<std::int64_t>(rng.below(20)), rng.below(2) == 0 ? 0.0 : 0.1);
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
