#include <quire/memory/retained_memory.hpp>

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/engine/config.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/retention/retention.hpp>

#include "tests/common/fuzz.hpp"

namespace quire::memory_test {
namespace {

using retention::Lane;
using retention::Scope;

/// Drops tokens at random, each lane its own: the worst that a policy can do to blocks.
template <class Way>
class DropsAnything {
 public:
  static constexpr std::string_view name = "drops_anything";
  static constexpr bool keeps_all = false;
  static constexpr Scope scope = Scope::head;
  static constexpr bool reassigns_positions = false;
  using Votes = retention::NoVotes;
  using Compaction = Way;
  DropsAnything(const RetentionLimits&, std::int64_t) {}
  void after_step(Lane& lane, std::span<const std::int64_t>, const retention::LaneStep& step,
                  std::vector<std::uint32_t>& drop) const {
    Rng rng(static_cast<std::uint64_t>(step.computed.value * 8 + step.layer));
    const std::uint64_t odds = rng.below(3) == 0 ? 2 : 9;
    for (std::uint32_t i = 0; i < lane.entries.size(); ++i) {
      if (rng.below(odds) == 0) drop.push_back(i);
    }
  }
};

/// Slots of all blocks for each lane, holding who wrote there last; and what a data plane does.
class Slots {
 public:
  Slots(std::size_t blocks, std::size_t block_tokens, std::size_t lanes)
      : block_tokens_(block_tokens), at_(blocks * block_tokens * lanes), lanes_(lanes) {}
  using Content = std::pair<std::uint64_t, std::int64_t>;  // sequence's text, position

  Content& at(std::size_t lane, std::uint32_t block, std::size_t slot) {
    return at_.at((block * block_tokens_ + slot) * lanes_ + lane);
  }
  void move(const StepPlan& plan, std::vector<Content>& host) {
    for (const auto& m : plan.slot_moves) {
      at(m.lane, m.to_block, m.to_slot) = at(m.lane, m.from_block, m.from_slot);
    }
    const std::size_t block = block_tokens_ * lanes_;
    auto copy = [&](std::vector<Content>& from, std::uint32_t a, std::vector<Content>& to,
                    std::uint32_t b) {
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(a * block), block,
                  to.begin() + static_cast<std::ptrdiff_t>(b * block));
    };
    for (const BlockSwap& s : plan.swap_out) copy(at_, s.device.value, host, s.host.value);
    for (const BlockSwap& s : plan.swap_in) copy(host, s.host.value, at_, s.device.value);
    for (const BlockCopy& c : plan.copies) copy(at_, c.from.value, at_, c.to.value);
  }

 private:
  std::size_t block_tokens_;
  std::vector<Content> at_;
  std::size_t lanes_;
};

/// Random growth, forks, swaps and ends; after every step each lane's tokens must be where it says,
/// each block is referenced as often as tables list it, and the parts of the memory add up.
template <class Way>
void fuzz(std::uint64_t seed, int steps) {
  constexpr std::int64_t blocks = 40, host_blocks = 60, block_tokens = 4;
  model::Shape shape;
  shape.layers = 2;
  shape.kv_heads = 2;
  constexpr std::size_t lanes = 4;
  using Memory = RetainedMemory<eviction::Lru, DropsAnything<Way>, BlockSize<block_tokens>>;
  Memory memory({.device_blocks = blocks,
                 .host_blocks = host_blocks,
                 .block_tokens = block_tokens,
                 .attends = true},
                shape, {.watermark = 0});
  Slots slots(blocks, block_tokens, lanes);
  std::vector<Slots::Content> host(host_blocks * block_tokens * lanes);
  Rng rng(seed);
  std::vector<std::unique_ptr<SequenceGroup>> groups;
  std::map<std::uint64_t, std::uint64_t> parent;  // sequence -> the one it was forked from
  std::uint64_t next = 1;
  for (int step = 0; step < steps; ++step) {
    StepPlan plan;
    memory.begin_step(plan);
    std::vector<std::pair<SequenceGroup*, std::vector<Tokens>>> ran;
    if (groups.size() < 5 && rng.below(3) == 0) {
      auto group = std::make_unique<SequenceGroup>();
      group->request.prompt_length = static_cast<std::int64_t>(1 + rng.below(30));
      Sequence& s = group->sequences.emplace_back();
      s.id = SequenceId{next++};
      s.length = group->request.prompt_length;
      ASSERT_TRUE(memory.admit(*group, 1000));
      group->status = GroupStatus::running;
      groups.push_back(std::move(group));
    }
    for (std::size_t g = 0; g < groups.size(); ++g) {
      SequenceGroup& group = *groups[g];
      const std::uint64_t what = rng.below(20);
      if (group.status == GroupStatus::swapped) continue;
      if (what == 0 && !group.sequences.front().tables[0].empty()) {
        if (memory.swap_out(group, plan)) group.status = GroupStatus::swapped;
        continue;
      }
      std::vector<Tokens> tokens;
      for (const Sequence& s : group.sequences) {
        tokens.push_back(static_cast<std::int64_t>(
            s.remaining() > Tokens{1}
                ? 1 + rng.below(static_cast<std::uint64_t>(s.remaining().value))
                : 1));
      }
      if (memory.grow(group, tokens, plan)) ran.emplace_back(&group, tokens);
    }
    for (const auto& group : groups) {  // as an engine does: none comes back while another leaves
      if (group->status != GroupStatus::swapped || !plan.swap_out.empty() || rng.below(3) != 0) {
        continue;
      }
      if (memory.swap_in(*group, plan)) group->status = GroupStatus::running;
    }
    memory.end_step(plan);

    slots.move(plan, host);
    for (auto& [group, tokens] : ran) {
      for (std::size_t i = 0; i < group->sequences.size(); ++i) {
        Sequence& s = group->sequences[i];
        ASSERT_EQ(s.lanes.size(), lanes);
        for (std::size_t l = 0; l < lanes; ++l) {
          const auto& entries = s.lanes[l].entries;
          std::set<std::uint32_t> used;
          for (std::size_t e = 0; e < entries.size(); ++e) {
            ASSERT_TRUE(used.insert(entries[e].slot).second) << "two tokens in one slot";
            const std::uint32_t block = s.tables[0][entries[e].slot / block_tokens].value;
            Slots::Content& content = slots.at(l, block, entries[e].slot % block_tokens);
            if (entries[e].position >= s.computed.value) {
              content = {s.id.value, entries[e].position};
            } else {  // written by this sequence or by one that it descends from
              ASSERT_EQ(content.second, entries[e].position)
                  << Way::name << " seed " << seed << " step " << step << " sequence " << s.id.value
                  << " of " << group->sequences.size() << " lane " << l << " slot "
                  << entries[e].slot << " written by " << content.first;
              std::uint64_t writer = s.id.value;
              while (writer != content.first && parent.contains(writer)) writer = parent[writer];
              ASSERT_EQ(writer, content.first) << "a stranger's token";
            }
          }
        }
      }
    }
    for (auto& [group, tokens] : ran) {
      for (std::size_t i = 0; i < group->sequences.size(); ++i) {
        Sequence& s = group->sequences[i];
        s.computed += tokens[i];
        if (s.computed == s.length) s.length += 1;
        memory.retain(*group, s, tokens[i], {});
      }
      if (group->sequences.size() < 3 && rng.below(9) == 0) {
        Sequence child = memory.fork(*group, group->sequences.front());
        child.id = SequenceId{next++};
        parent[child.id.value] = group->sequences.front().id.value;
        group->sequences.push_back(std::move(child));
      }
    }
    for (std::size_t g = groups.size(); g-- > 0;) {
      if (rng.below(25) != 0) continue;
      for (Sequence& s : groups[g]->sequences) memory.release(s);
      groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(g));
    }

    std::vector<std::uint32_t> listed(blocks);
    MemoryUsage usage;
    for (const auto& group : groups) {
      for (const Sequence& s : group->sequences) {
        for (const BlockId b : s.tables[0].blocks()) ++listed[b.value];
        for (const Lane& lane : s.lanes) {
          for (const auto& entry : lane.entries) {
            ASSERT_LT(entry.slot, lane.tail);
            ASSERT_EQ(std::count(lane.holes.begin(), lane.holes.end(), entry.slot), 0);
          }
          ASSERT_EQ(lane.entries.size() + lane.holes.size(), lane.tail);
        }
      }
      memory.add_usage(*group, 1000, usage);
    }
    memory.finish_usage(usage);
    std::int64_t held = 0;
    for (std::uint32_t b = 0; b < blocks; ++b) {
      ASSERT_EQ(memory.pool().references(BlockId{b}), listed[b]) << "block " << b;
      held += listed[b] > 0;
    }
    ASSERT_EQ(usage.physical_blocks.value, held);
    ASSERT_EQ(usage.token_states + usage.reserved + usage.internal + usage.holes + usage.free,
              usage.capacity);
    ASSERT_GE(usage.token_states, Tokens{0});
  }
}

TEST(RetainedMemory, KeepsEveryTokenWhereItsLaneSays) {
  const auto steps = static_cast<int>(testing::fuzz_count(400));
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    fuzz<retention::LeaveHoles>(seed, steps);
    fuzz<retention::ReuseHoles>(seed, steps);
    fuzz<retention::CloseHoles>(seed, steps);
    if (HasFatalFailure()) return;
  }
}

/// Policies of somebody else, which take tokens out of the lane by themselves, or hand out slots.
template <int which>
struct Meddles : retention::SlidingWindow {
  static constexpr std::string_view name = "meddles";
  using SlidingWindow::SlidingWindow;
  void after_step(retention::Lane& lane, std::span<const std::int64_t>, const retention::LaneStep&,
                  std::vector<std::uint32_t>&) const {
    if (which == 0) lane.entries.clear();
    if (which == 1) lane.holes.push_back(1000);
    if (which == 2) lane.tail = 1000;
    if (which == 3) lane.entries[0].score = 7;
    if (which == 4) lane.entries[1].slot = 2;
    if (which == 5) lane.entries[1].slot = 1000;
    if (which == 6) std::swap(lane.entries[1], lane.entries[2]);
  }
};
template <int which>
std::string fault_of_meddling() {
  model::Shape shape;
  shape.layers = shape.kv_heads = 1;
  RetainedMemory<eviction::Lru, Meddles<which>, BlockSize<4>> memory(
      {.device_blocks = 10, .block_tokens = 4, .attends = true}, shape, {.watermark = 0});
  SequenceGroup group;
  group.request.prompt_length = 20;
  Sequence& s = group.sequences.emplace_back();
  s.length = 20;
  EXPECT_TRUE(memory.admit(group, 100));
  StepPlan plan;
  const Tokens prompt[] = {20};
  EXPECT_TRUE(memory.grow(group, prompt, plan));
  s.computed = 20;
  try {
    memory.retain(group, s, 20, {});
    if (which < 3) ADD_FAILURE() << "seen when the sequence ends, not before";
    memory.release(s);
  } catch (const Error& error) {
    return error.what();
  }
  return "no fault";
}

TEST(RetainedMemory, RefusesAPolicyThatChangesSlotsByItself) {
  const std::string fault =
      "retention policy meddles: after_step() changes which slots a lane uses; expected entries to "
      "drop, by index; of the lane it may write scores and history";
  EXPECT_EQ(fault_of_meddling<0>(), fault);
  EXPECT_EQ(fault_of_meddling<1>(), fault);
  EXPECT_EQ(fault_of_meddling<2>(), fault);
  EXPECT_EQ(fault_of_meddling<3>(), "no fault");
  EXPECT_EQ(fault_of_meddling<4>(), fault);
  EXPECT_EQ(fault_of_meddling<5>(), fault);
  EXPECT_EQ(fault_of_meddling<6>(), fault);
}

TEST(RetainedMemory, ABlockThatLostAllItsTokensIsFree) {
  model::Shape shape;
  shape.layers = shape.kv_heads = 1;
  RetainedMemory<eviction::Lru, retention::SlidingWindow, BlockSize<4>> memory(
      {.device_blocks = 10, .block_tokens = 4, .attends = true}, shape,
      {.watermark = 0, .retention = {.budget = 6}});
  SequenceGroup group;
  group.request.prompt_length = 20;
  Sequence& s = group.sequences.emplace_back();
  s.length = 20;
  ASSERT_TRUE(memory.admit(group, 100));
  StepPlan plan;
  const Tokens prompt[] = {20};
  ASSERT_TRUE(memory.grow(group, prompt, plan));
  EXPECT_EQ(memory.pool().referenced(), BlockCount{5});
  s.computed = 20;
  memory.retain(group, s, 20, {});
  EXPECT_EQ(memory.pool().referenced(), BlockCount{2});  // tokens 14 to 19
  MemoryUsage usage;
  memory.add_usage(group, 30, usage);
  memory.finish_usage(usage);
  EXPECT_EQ(usage.holes, Tokens{2});
  EXPECT_EQ(usage.token_states, Tokens{6});
  EXPECT_EQ(memory.kept(s), Tokens{6});
  memory.release(s);
  EXPECT_EQ(memory.pool().referenced(), BlockCount{0});
}

TEST(RetainedMemory, RefusesABudgetOfNothing) {
  model::Shape shape;
  shape.layers = shape.kv_heads = 1;
  using Memory = RetainedMemory<eviction::Lru, retention::H2O, BlockSize<4>>;
  EXPECT_THROW(
      Memory({.device_blocks = 10, .block_tokens = 4}, shape, {.retention = {.budget = 0}}), Error);
}

}  // namespace
}  // namespace quire::memory_test
