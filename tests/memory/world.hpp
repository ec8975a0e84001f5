#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/model/known_shapes.hpp>

#include "tests/memory/kv_contents.hpp"
#include "tests/memory/naive_usage.hpp"

namespace quire::memory_test {

/// Contents as numbers; where told to, every now and then a fetch fails.
class Numbers {
 public:
  Numbers(const KvGeometry& g, Rng& rng, bool fails)
      : contents_(g.device_blocks, g.host_blocks + g.disk_blocks, g.block_tokens),
        rng_(rng),
        fails_(fails) {}
  void move(const StepPlan& plan, StepResult& result) {
    contents_.move(plan);
    for (std::uint32_t i = 0; fails_ && i < plan.swap_in.size(); ++i) {
      if (rng_.below(40) != 0) continue;
      result.failed.push_back(i);
      contents_.spoil(plan.swap_in[i].device);
    }
  }
  std::uint64_t& at(const BlockTable& table, std::int64_t token) {
    return contents_.at(table, token);
  }
  [[nodiscard]] std::uint64_t last_of(BlockId b) const { return contents_.last_of(b); }

 private:
  KvContents contents_;
  Rng& rng_;
  bool fails_;
};

/// Sequence groups over one paged memory and its tiers, with what each token's KV must be kept beside
/// them. Every operation that an engine does is done in random order, one a step.
template <class C, class Contents>
class World {
 public:
  static constexpr std::int64_t block_tokens = C::BlockSize::tokens.value;

  World(Rng& rng, const KvGeometry& g, double watermark, bool fails)
      : rng_(rng),
        below_(g.host_blocks + (g.tiers.uses_disk ? g.disk_blocks : BlockCount{0})),
        memory_(g, model::llama_7b, watermark),
        contents_(g, rng, fails) {}

  void act() {
    begin_step();
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
        plan_growth(*swapped, 1);
        EXPECT_NE(work_, nullptr) << "swap_in left no room to go on";
      }
    } else if (running != nullptr && what < 73) {
      plan_growth(*running, 1 + static_cast<std::int64_t>(rng_.below(6)));
    } else if (running != nullptr && what < 79) {
      fork(*running);
    } else if (running != nullptr && what < 83) {
      end_one(*running);
    } else if (running != nullptr && what < 89) {
      preempt(*running);
    } else if (waiting != nullptr && what < 92) {
      memory_.prefetch(*waiting);
    } else if (what == 92) {
      memory_.persist();
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
    StepResult result;
    contents_.move(plan_, result);
    recover(result);
    if (work_ != nullptr) compute();
    now_ += 1;
    memory_.expire(Seconds{now_});
    std::erase_if(pins_, [this](const Pin& pin) { return pin.until && *pin.until <= now_; });
    check_tokens();
  }

  void leave_all() {
    while (!groups_.empty()) leave(0);
    for (const Pin& pin : pins_) EXPECT_TRUE(memory_.unpin(pin.id));
    pins_.clear();
    memory_.expire(Seconds{now_ + 1000});  // what ended sequences asked for
    begin_step();
    EXPECT_EQ(memory_.pool().available(), memory_.capacity());
    EXPECT_EQ(memory_.host_free(), below_);
    memory_.end_step(plan_);
  }
  [[nodiscard]] const TierCounters& counters() const { return memory_.tiers().counters(); }
  std::int64_t recoveries = 0;

 private:
  /// References that the last plan held are given back: what is counted now is the sequences' own.
  void begin_step() {
    plan_.clear();
    work_ = nullptr;
    memory_.begin_step(plan_);
    check_counts();
  }
  SequenceGroup* any(GroupStatus status) {
    std::vector<SequenceGroup*> found;
    for (auto& g : groups_) {
      if (g->status == status) found.push_back(g.get());
    }
    return found.empty() ? nullptr : found[rng_.below(found.size())];
  }
  TokenId token() { return static_cast<TokenId>(rng_.below(2)); }
  /// What stands before a text's first token: its salt.
  static std::uint64_t start(const SequenceGroup& g) {
    return KvContents::extend(KvContents::garbage, static_cast<TokenId>(g.request.salt));
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

  /// Makes room for up to `tokens` more a sequence, which compute() writes once the plan's moves are
  /// done.
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
  /// Writes what was planned, and appends a token to those that have nothing left to compute, as
  /// sampling does.
  void compute() {
    SequenceGroup& group = *work_;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.finished() || allotted_[i] == Tokens{0}) continue;
      std::uint64_t before = start(group);
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
    if (rng_.below(2) == 0) return drop(group);
    const bool fits = memory_.distinct_blocks(group) <= memory_.host_free();
    const bool moved = memory_.swap_out(group, plan_);
    // cached text that goes down to make room needs room itself until the next plan
    EXPECT_TRUE(moved == fits || (fits && memory_.tiers().keeps_evicted()));
    if (moved) group.status = GroupStatus::swapped;
  }
  void drop(SequenceGroup& group) {
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
    if (bad.empty()) return;
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

  /// Every computed token reads back, and pinned blocks are as they were.
  void check_tokens() {
    for (const auto& g : groups_) {
      if (g->status != GroupStatus::running) continue;
      for (const Sequence& s : g->sequences) {
        if (s.shared > Tokens{0}) continue;
        std::uint64_t before = start(*g);
        for (std::int64_t t = 0; t < s.computed.value; ++t) {
          before = KvContents::extend(before, s.tokens[static_cast<std::size_t>(t)]);
          ASSERT_EQ(contents_.at(s.tables[0], t), before) << "token " << t << " was lost";
        }
      }
    }
    for (const Pin& pin : pins_) {
      for (std::size_t i = 0; i < pin.blocks.size(); ++i) {
        ASSERT_GT(memory_.pool().pins(pin.blocks[i]), 0u);
        ASSERT_TRUE(memory_.pool().indexed(pin.blocks[i]));
        ASSERT_EQ(contents_.last_of(pin.blocks[i]), pin.contents[i]) << "a pinned block changed";
      }
    }
  }
  /// Counts equal the table entries, and usage is what counting slot by slot finds.
  void check_counts() {
    references_.assign(static_cast<std::size_t>(memory_.capacity().value), 0);
    std::vector<BlockId> below;
    MemoryUsage usage;
    NaiveUsage naive(memory_.capacity(), block_tokens);
    for (const auto& g : groups_) {
      for (const Sequence& s : g->sequences) {
        for (const BlockId b : s.tables[0].blocks()) ++references_[b.value];
        below.insert(below.end(), s.host_blocks.begin(), s.host_blocks.end());
        if (s.finished() || g->status == GroupStatus::waiting) {
          ASSERT_TRUE(s.tables[0].empty() && s.host_blocks.empty());
        }
        if (g->status == GroupStatus::swapped) {
          ASSERT_TRUE(s.tables[0].empty());
        }
      }
      if (g->status != GroupStatus::waiting) {
        // requests that end within the block, beyond it, and that have ended
        const Tokens end = g->sequences[0].length + static_cast<std::int64_t>(rng_.below(7)) - 1;
        memory_.add_usage(*g, end, usage);
        naive.add(*g, end);
      }
    }
    std::int64_t referenced = 0, pinned = 0, idle_pinned = 0;
    for (std::uint32_t b = 0; b < references_.size(); ++b) {
      ASSERT_EQ(memory_.pool().references(BlockId{b}), references_[b]) << "block " << b;
      referenced += references_[b] > 0;
      pinned += memory_.pool().pins(BlockId{b}) > 0;
      idle_pinned += memory_.pool().pins(BlockId{b}) > 0 && references_[b] == 0;
    }
    ASSERT_EQ(memory_.pool().referenced().value, referenced);
    ASSERT_EQ(memory_.pool().pinned().value, pinned);
    ASSERT_LE(pinned, memory_.capacity().value / 5);
    ASSERT_EQ(memory_.available().value, memory_.capacity().value - referenced - idle_pinned);
    std::sort(below.begin(), below.end());
    const auto distinct = std::unique(below.begin(), below.end()) - below.begin();
    ASSERT_EQ(memory_.host_free().value, below_.value - distinct);
    memory_.finish_usage(usage);
    naive.expect_equal(usage);
    ASSERT_EQ(usage.physical_blocks.value, referenced);
  }

  Rng& rng_;
  BlockCount below_;  // slots of the tiers
  PagedMemory<C> memory_;
  Contents contents_;
  StepPlan plan_;
  SequenceGroup* work_ = nullptr;  // what computes in this step
  std::vector<Tokens> allotted_;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  std::vector<std::uint32_t> references_;
  std::vector<Pin> pins_;
  double now_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace quire::memory_test
