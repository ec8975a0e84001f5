#include <quire/memory/contiguous_memory.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/engine/override.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/orca_oracle.hpp>
#include <quire/presets/orca_pow2.hpp>
#include <quire/presets/tgi.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/memory/kv_contents.hpp"

namespace quire::memory_test {
namespace {

template <class Preset>
using Small = with<Preset, set_block_size<BlockSize<4>>>;

SequenceGroup group_of(std::int64_t prompt, std::int64_t output, std::int32_t n = 1) {
  SequenceGroup g;
  g.request.prompt_length = prompt;
  g.request.output_length = output;
  g.request.sampling.max_tokens = output;
  g.request.sampling.n = n;
  g.sequences.resize(1);
  g.sequences[0].length = prompt;
  return g;
}

TEST(ContiguousMemory, TakesOneRunForEachSampleAtAdmission) {
  ContiguousMemory<Small<presets::OrcaOracle>> memory({32, 0, 4}, model::llama_7b, 0);
  SequenceGroup g = group_of(10, 7, 3);  // 17 tokens: 5 blocks, a run of 8
  EXPECT_FALSE(memory.rejects(g, 64).has_value());
  ASSERT_TRUE(memory.admit(g, 64));
  EXPECT_EQ(memory.buddy().free_blocks(), BlockCount{8});
  EXPECT_EQ(g.sequences[0].run, (BlockRun{BlockId{16}, 8}));
  EXPECT_EQ(g.sequences[0].tables[0].size(), 8u);
  SequenceGroup other = group_of(10, 7, 2);
  EXPECT_FALSE(memory.admit(other, 64));  // two runs of 8 are not there: nothing is taken
  EXPECT_EQ(memory.buddy().free_blocks(), BlockCount{8});

  g.sequences[0].computed = 10;
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  StepPlan plan;
  memory.begin_step(plan);
  EXPECT_EQ(plan.copies.size(), 6u);  // three blocks of text, twice
  for (Sequence& s : g.sequences) memory.release(s);
  memory.release_spares(g);
  EXPECT_EQ(memory.buddy().free_blocks(), BlockCount{32});
}

TEST(ContiguousMemory, CopiesNothingForForksThatEndAtOnce) {
  ContiguousMemory<Small<presets::OrcaOracle>> memory({32, 0, 4}, model::llama_7b, 0);
  SequenceGroup g = group_of(10, 1, 2);
  ASSERT_TRUE(memory.admit(g, 64));
  g.sequences[0].computed = 10;
  g.sequences.push_back(memory.fork(g, g.sequences[0]));
  memory.release(g.sequences[1]);
  StepPlan plan;
  memory.begin_step(plan);
  EXPECT_TRUE(plan.copies.empty());
}

TEST(ContiguousMemory, RejectsWhatNoEmptyPoolCanHold) {
  const ContiguousMemory<Small<presets::OrcaMax>> memory({983, 0, 4}, model::llama_7b, 0);
  EXPECT_FALSE(memory.rejects(group_of(1, 1, 7), 512).has_value());
  EXPECT_THAT(memory.rejects(group_of(1, 1, 8), 512).value_or(""),
              ::testing::HasSubstr("8 runs of 128 KV blocks, the pool has 983"));
  EXPECT_FALSE(memory.rejects(group_of(1, 1), 2048).has_value());
  EXPECT_TRUE(memory.rejects(group_of(1, 1), 2049).has_value());  // a run of 1,024
}

TEST(ContiguousMemory, RejectsAReservationThatTheSequenceOutgrows) {
  const ContiguousMemory<Small<presets::Tgi>> memory({64, 0, 4}, model::llama_7b, 0);
  SequenceGroup g = group_of(10, 20);
  EXPECT_FALSE(memory.rejects(g, 64).has_value());
  g.request.sampling.max_tokens = 19;
  EXPECT_TRUE(memory.rejects(g, 64).has_value());
  EXPECT_FALSE(memory.rejects(g, 29).has_value());  // the model's length ends it in time
}

TEST(ContiguousMemory, AccountsForEveryTokenOfARun) {
  ContiguousMemory<Small<presets::OrcaPow2>> memory({64, 0, 4}, model::llama_7b, 0);
  SequenceGroup g = group_of(10, 5, 2);  // 10 + 8 = 18 tokens: 5 blocks, a run of 8 = 32 tokens
  ASSERT_TRUE(memory.admit(g, 64));
  g.sequences[0].computed = 10;
  MemoryUsage u;
  memory.add_usage(g, 15, u);
  memory.finish_usage(u);
  EXPECT_EQ(u.token_states, Tokens{10});
  EXPECT_EQ(u.reserved, Tokens{5 + 15});  // what is still to come, and the second sample's all
  EXPECT_EQ(u.internal, Tokens{3 + 3});
  EXPECT_EQ(u.rounding, Tokens{14 + 14});
  EXPECT_EQ(u.free, Tokens{256 - 64});
  EXPECT_EQ(u.physical_blocks, BlockCount{16});
}

/// Random admissions, forks, dropped beams and departures; runs never overlap, forks carry the
/// parent's text, and everything comes back.
TEST(ContiguousMemory, RandomGroupsNeverShareABlock) {
  using Config = Small<presets::OrcaPow2>;
  Rng rng(9);
  for (std::int64_t round = 0; round < testing::fuzz_count(60); ++round) {
    const auto capacity = static_cast<std::int64_t>(8 + rng.below(120));
    ContiguousMemory<Config> memory({capacity, 0, 4}, model::llama_7b, 0);
    KvContents contents(capacity, 0, 4);
    std::vector<std::unique_ptr<SequenceGroup>> groups;
    StepPlan plan;
    auto leave = [&](std::size_t i) {
      for (Sequence& s : groups[i]->sequences) memory.release(s);
      memory.release_spares(*groups[i]);
      groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(i));
    };
    for (int step = 0; step < 200; ++step) {
      plan.clear();
      memory.begin_step(plan);
      contents.move(plan);
      const std::uint64_t what = rng.below(10);
      if (what < 4) {
        auto g =
            std::make_unique<SequenceGroup>(group_of(1 + static_cast<std::int64_t>(rng.below(40)),
                                                     1 + static_cast<std::int64_t>(rng.below(20)),
                                                     1 + static_cast<std::int32_t>(rng.below(4))));
        const bool possible = !memory.rejects(*g, 64).has_value();
        if (memory.admit(*g, 64)) {
          EXPECT_TRUE(possible);
          Sequence& s = g->sequences[0];
          s.computed = s.length;
          for (std::int64_t t = 0; t < s.length.value; ++t) {
            contents.at(s.tables[0], t) = 1000 * s.run.first.value + static_cast<std::uint64_t>(t);
          }
          groups.push_back(std::move(g));
        }
      } else if (!groups.empty() && what < 8) {
        SequenceGroup& g = *groups[rng.below(groups.size())];
        if (!g.spare_runs.empty()) {
          g.sequences.push_back(memory.fork(g, g.sequences[rng.below(g.sequences.size())]));
        } else if (g.sequences.size() > 1) {
          memory.recycle(g, g.sequences.back());  // a beam makes room for another
          g.sequences.pop_back();
        }
      } else if (!groups.empty()) {
        leave(rng.below(groups.size()));
      }
      plan.clear();
      memory.begin_step(plan);
      contents.move(plan);

      std::vector<int> owners(static_cast<std::size_t>(capacity));
      std::int64_t held = 0;
      MemoryUsage usage;
      for (const auto& g : groups) {
        std::vector<BlockRun> runs = g->spare_runs;
        for (const Sequence& s : g->sequences) {
          runs.push_back(s.run);
          for (std::int64_t t = 0; t < s.computed.value; ++t) {
            ASSERT_EQ(contents.at(s.tables[0], t), contents.at(g->sequences[0].tables[0], t));
          }
        }
        for (const BlockRun run : runs) {
          held += run.blocks;
          for (std::uint32_t b = 0; b < run.blocks; ++b) ++owners.at(run.first.value + b);
        }
        memory.add_usage(*g, g->prompt_length() + *g->request.output_length, usage);
      }
      ASSERT_TRUE(std::all_of(owners.begin(), owners.end(), [](int n) { return n <= 1; }));
      ASSERT_EQ(memory.buddy().free_blocks().value, capacity - held);
      memory.finish_usage(usage);
      ASSERT_EQ(usage.token_states + usage.reserved + usage.internal + usage.rounding + usage.free,
                usage.capacity);
    }
    while (!groups.empty()) leave(0);
    ASSERT_EQ(memory.buddy().free_blocks().value, capacity);
  }
}

}  // namespace
}  // namespace quire::memory_test
