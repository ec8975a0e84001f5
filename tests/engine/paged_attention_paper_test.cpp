#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/vllm.hpp>

#include "tests/common/engines.hpp"

// Numbers and diagrams of Kwon et al., "Efficient Memory Management for Large Language Model
// Serving with PagedAttention", SOSP '23, that need no hardware.
namespace quire::engine_test {
namespace {

using Blocks1 = with<presets::Vllm, set_block_size<BlockSize<1>>>;
using Blocks4 = with<presets::Vllm, set_block_size<BlockSize<4>>>;

SequenceGroup group_of(std::int64_t prompt, std::int64_t output) {
  SequenceGroup g;
  g.request.prompt_length = prompt;
  g.request.output_length = output;
  g.request.sampling.max_tokens = output;
  g.sequences.resize(1);
  g.sequences[0].length = prompt;
  return g;
}

TEST(PagedAttentionPaper, Figure3InternalFragmentationOfReservedMemory) {
  using Config = with<presets::OrcaMax, set_block_size<BlockSize<1>>>;
  ContiguousMemory<Config> memory({4096, 0, 1}, model::opt_13b, 0);
  SequenceGroup a = group_of(7, 3);  // "Four score and seven years ago our"
  SequenceGroup b = group_of(3, 2);  // "You only live"
  ASSERT_TRUE(memory.admit(a, 2048));
  ASSERT_TRUE(memory.admit(b, 512));
  a.sequences[0].computed = 8;  // and "fathers"
  b.sequences[0].computed = 4;  // and "once"
  MemoryUsage of_a, of_b;
  memory.add_usage(a, 10, of_a);
  memory.add_usage(b, 5, of_b);
  EXPECT_EQ(of_a.token_states, Tokens{8});
  EXPECT_EQ(of_a.reserved, Tokens{2});
  EXPECT_EQ(of_a.internal, Tokens{2038});
  EXPECT_EQ(of_b.token_states, Tokens{4});
  EXPECT_EQ(of_b.reserved, Tokens{1});
  EXPECT_EQ(of_b.internal, Tokens{507});
}

/// Memory of 16 blocks of 4 whose next free blocks are 7, 1 and 3, as the paper's drawings have it.
struct PaperPool {
  PagedMemory<Blocks4> memory{{16, 0, 4}, model::opt_13b, 0};
  PaperPool() {
    std::vector<SequenceGroup> holders;
    for (std::uint32_t b = 0; b < 16; ++b) {
      holders.push_back(group_of(4, 1));
      EXPECT_TRUE(memory.admit(holders.back(), 2048));
      EXPECT_EQ(holders.back().sequences[0].tables[0].back(), BlockId{b});
    }
    for (const std::size_t b : {3u, 1u, 7u}) memory.release(holders[b].sequences[0]);
  }
};

TEST(PagedAttentionPaper, Figure6BlockTableGrowsBlockByBlock) {
  PaperPool pool;
  SequenceGroup g = group_of(7, 3);
  ASSERT_TRUE(pool.memory.admit(g, 2048));
  Sequence& s = g.sequences[0];
  ASSERT_EQ(s.tables[0].size(), 2u);
  EXPECT_EQ(s.tables[0][0], BlockId{7});  // 4 of 4 filled
  EXPECT_EQ(s.tables[0][1], BlockId{1});  // 3 of 4 filled
  s.computed = 7;
  s.length = 8;  // "fathers" goes into the last slot of block 1
  StepPlan plan;
  ASSERT_TRUE(pool.memory.grow(g, std::vector<Tokens>{1}, plan));
  EXPECT_EQ(s.tables[0].size(), 2u);
  s.computed = 8;
  s.length = 9;  // "brought" needs a new block
  ASSERT_TRUE(pool.memory.grow(g, std::vector<Tokens>{1}, plan));
  ASSERT_EQ(s.tables[0].size(), 3u);
  EXPECT_EQ(s.tables[0][2], BlockId{3});
  EXPECT_TRUE(plan.copies.empty());
}

TEST(PagedAttentionPaper, Figure8CopyOnWriteOfASharedLastBlock) {
  PaperPool pool;
  SequenceGroup g = group_of(7, 3);
  g.request.sampling.n = 2;
  ASSERT_TRUE(pool.memory.admit(g, 2048));
  g.sequences[0].computed = 7;
  g.sequences.push_back(pool.memory.fork(g, g.sequences[0]));
  for (Sequence& s : g.sequences) s.length = 8;  // "fathers" and "mothers"
  EXPECT_EQ(pool.memory.pool().references(BlockId{7}), 2u);
  EXPECT_EQ(pool.memory.pool().references(BlockId{1}), 2u);
  StepPlan plan;
  ASSERT_TRUE(pool.memory.grow(g, std::vector<Tokens>{1, 0}, plan));  // A1 writes first
  ASSERT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(plan.copies[0].from, BlockId{1});
  EXPECT_EQ(plan.copies[0].to, BlockId{3});
  EXPECT_EQ(g.sequences[0].tables[0][1], BlockId{3});
  EXPECT_EQ(g.sequences[1].tables[0][1], BlockId{1});
  EXPECT_EQ(pool.memory.pool().references(BlockId{1}), 1u);  // 2 -> 1
  EXPECT_EQ(pool.memory.pool().references(BlockId{3}), 1u);
  EXPECT_EQ(pool.memory.pool().references(BlockId{7}), 2u);  // full blocks stay shared
  plan.clear();
  ASSERT_TRUE(pool.memory.grow(g, std::vector<Tokens>{0, 1}, plan));  // A2 owns the original now
  EXPECT_TRUE(plan.copies.empty());
}

/// KV blocks of a model with so many bytes for keys and values, over so many devices.
template <class C>
MemoryPlan plan_of(const model::Shape& shape, std::int64_t gib, std::int64_t devices = 1,
                   const Hardware& hardware = hardware::a100_40gb) {
  const CostInputs inputs{.model = shape,
                          .hardware = hardware,
                          .tensor_parallel = devices,
                          .storage = storage_cost<C>(shape),
                          .host = {}};
  return plan_memory(inputs, {.kv_bytes = gib << 30});
}

TEST(PagedAttentionPaper, Table1KvSlots) {
  EXPECT_EQ(storage_cost<presets::Vllm>(model::opt_13b).kv_token_bytes, 819'200);  // "800 KB"
  EXPECT_EQ(plan_of<presets::Vllm>(model::opt_13b, 12).device_blocks, BlockCount{983});
  EXPECT_EQ(plan_of<presets::Vllm>(model::opt_13b, 12).slots(), Tokens{15'728});
  EXPECT_EQ(plan_of<Blocks1>(model::opt_13b, 12).slots(), Tokens{15'728});
  EXPECT_EQ(plan_of<Blocks1>(model::opt_66b, 21, 4).slots(), Tokens{9'557});
  EXPECT_EQ(plan_of<Blocks1>(model::opt_175b, 264, 8, hardware::a100_80gb).slots(), Tokens{60'074});
}

TEST(PagedAttentionPaper, Figures2And13OrcaMaxRunsSevenRequests) {
  executor::Simulated::Options options{.model = model::opt_13b, .hardware = hardware::a100_40gb};
  options.memory.kv_bytes = std::int64_t{12} << 30;
  Engine<presets::OrcaMax, executor::Simulated> engine(options);
  Rng rng(1);
  for (int i = 0; i < 60; ++i) {
    Request r;
    r.prompt_length = static_cast<std::int64_t>(1 + rng.below(500));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(500));
    r.sampling.max_tokens = *r.output_length;
    engine.submit(r);
  }
  int saturated = 0;
  while (engine.has_work()) {
    const StepStats& stats = engine.step();
    if (stats.waiting_groups == 0) continue;
    ++saturated;
    ASSERT_EQ(stats.running_groups, 7);
    const double external = ratio(stats.usage.free + stats.usage.rounding, stats.usage.capacity);
    ASSERT_NEAR(100 * external, 8.9, 0.05);
  }
  EXPECT_GT(saturated, 100);
}

template <std::int64_t block>
std::size_t blocks_swapped(std::int64_t tokens) {
  using Config =
      with<presets::Vllm, set_block_size<BlockSize<block>>, set_offload<offload::SwapToHost>>;
  PagedMemory<Config> memory({512, 512, block}, model::opt_13b, 0);
  SequenceGroup g = group_of(tokens, 10);
  EXPECT_TRUE(memory.admit(g, 2048));
  g.sequences[0].computed = tokens;
  StepPlan plan;
  EXPECT_TRUE(memory.swap_out(g, plan));
  return plan.swap_out.size();
}

TEST(PagedAttentionPaper, Figure19aCopiesOfASwap) {
  // keys and values of 40 layers, block by block
  EXPECT_EQ(2 * 40 * blocks_swapped<1>(256), 20'480u);
  EXPECT_EQ(2 * 40 * blocks_swapped<16>(256), 1'280u);
  EXPECT_EQ(2 * 40 * blocks_swapped<256>(256), 80u);
}

TEST(PagedAttentionPaper, Figure15SavingIsOneMinusPhysicalOverLogical) {
  PagedMemory<Blocks4> memory({32, 0, 4}, model::opt_13b, 0);
  SequenceGroup g = group_of(8, 4);
  ASSERT_TRUE(memory.admit(g, 2048));
  g.sequences[0].computed = 8;
  for (int i = 1; i < 4; ++i) g.sequences.push_back(memory.fork(g, g.sequences[0]));
  for (Sequence& s : g.sequences) s.length = 9;
  StepPlan plan;
  ASSERT_TRUE(memory.grow(g, std::vector<Tokens>{1, 1, 1, 1}, plan));
  MemoryUsage usage;
  memory.add_usage(g, 12, usage);
  memory.finish_usage(usage);
  EXPECT_EQ(usage.logical_blocks, BlockCount{12});  // four tables of three
  EXPECT_EQ(usage.physical_blocks, BlockCount{6});  // two shared, four of their own
}

}  // namespace
}  // namespace quire::engine_test
