// What the memory mechanism costs: blocks, runs, forks with their copies, swaps, shared prefixes.
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/engine/override.hpp>
#include <quire/memory/memory.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>

namespace {

using namespace quire;

SequenceGroup group_of(std::int64_t prompt) {
  SequenceGroup g;
  g.request.prompt_length = prompt;
  g.request.sampling.max_tokens = 1 << 20;
  g.sequences.resize(1);
  g.sequences[0].length = prompt;
  return g;
}

/// A block taken and given back, in random order over a full pool.
template <class C>
void block(benchmark::State& state) {
  const std::int64_t capacity = state.range(0);
  typename PagedMemory<C>::Pool pool(capacity, C::BlockSize::tokens);
  std::vector<BlockId> held;
  while (const auto b = pool.allocate()) held.push_back(*b);
  Rng rng(1);
  for (auto _ : state) {
    const std::size_t i = rng.below(held.size());
    pool.release(held[i]);
    held[i] = *pool.allocate();
  }
  quire_bench::count_items(state, 2);
  quire_bench::against(state, "pointer_chase_l2");
}

/// A run taken and given back where runs of all sizes are held.
void run(benchmark::State& state) {
  BuddyAllocator buddy(state.range(0), state.range(0));
  std::vector<BlockRun> held;
  Rng rng(1);
  while (buddy.free_blocks().value > state.range(0) / 4) {
    if (const auto r = buddy.allocate(static_cast<std::int64_t>(1 + rng.below(64)))) {
      held.push_back(*r);
    } else {
      break;
    }
  }
  for (auto _ : state) {
    const std::size_t i = rng.below(held.size());
    const BlockRun old = held[i];
    buddy.free(old);
    held[i] = *buddy.allocate(std::int64_t{old.blocks});
  }
  quire_bench::count_items(state, 2);
  quire_bench::against(state, "pointer_chase_l2");
}

/// Room for one more token, block by block; an item is a token.
template <class C>
void grow(benchmark::State& state) {
  PagedMemory<C> memory({1 << 14, 0, C::BlockSize::tokens}, model::opt_13b, 0);
  SequenceGroup g = group_of(16);
  StepPlan plan;
  const std::vector<Tokens> one{1};
  for (auto _ : state) {
    if (g.sequences[0].tables[0].empty() && !memory.admit(g, 1 << 20)) {
      state.SkipWithError("no room");
      break;
    }
    g.sequences[0].computed += 1;
    if (!memory.grow(g, one, plan)) {
      memory.release(g.sequences[0]);
    }
  }
  quire_bench::count_items(state, 1);
  quire_bench::against(state, "pointer_chase_l2");
}

/// A fork of a sequence of so many tokens, its first write, and its end; an item is a block.
template <class C>
void fork(benchmark::State& state) {
  const std::int64_t tokens = state.range(0);
  PagedMemory<C> memory({4 * tokens, 0, C::BlockSize::tokens}, model::opt_13b, 0);
  SequenceGroup g = group_of(tokens);
  if (!memory.admit(g, 1 << 20)) state.SkipWithError("no room");
  g.sequences[0].computed = tokens - 1;
  StepPlan plan;
  const std::vector<Tokens> child{0, 1};
  for (auto _ : state) {
    plan.clear();
    g.sequences.push_back(memory.fork(g, g.sequences[0]));
    benchmark::DoNotOptimize(memory.grow(g, child, plan));
    memory.release(g.sequences[1]);
    g.sequences.pop_back();
  }
  quire_bench::count_items(state, blocks_for(tokens, C::BlockSize::tokens).value);
  quire_bench::against(state, "pointer_chase_l2");
}

/// A group of four that shares its prompt goes to the host and comes back; an item is a block moved.
template <class C>
void swap(benchmark::State& state) {
  const std::int64_t tokens = state.range(0);
  const std::int64_t blocks = 8 * tokens / C::BlockSize::tokens.value + 8;
  PagedMemory<C> memory({blocks, blocks, C::BlockSize::tokens}, model::opt_13b, 0);
  SequenceGroup g = group_of(tokens);
  if (!memory.admit(g, 1 << 20)) state.SkipWithError("no room");
  g.sequences[0].computed = tokens;
  for (int i = 0; i < 3; ++i) g.sequences.push_back(memory.fork(g, g.sequences[0]));
  for (Sequence& s : g.sequences) s.length += 1;
  StepPlan plan;
  std::int64_t moved = 0;
  for (auto _ : state) {
    plan.clear();
    if (!memory.swap_out(g, plan) || !memory.swap_in(g, plan)) state.SkipWithError("no room");
    moved += std::ssize(plan.swap_out) + std::ssize(plan.swap_in);
  }
  state.SetItemsProcessed(moved);
  quire_bench::against(state, "pointer_chase_l2");
}

/// Admission of a prompt whose text is cached whole, and its end; an item is a block found.
void prefix(benchmark::State& state) {
  using C = presets::VllmPrefixCache;
  const std::int64_t tokens = state.range(0);
  PagedMemory<C> memory({4 * tokens / 16, 0, 16}, model::opt_13b, 0);
  SequenceGroup g = group_of(tokens);
  for (std::int64_t t = 0; t < tokens; ++t) {
    g.sequences[0].tokens.push_back(static_cast<TokenId>(t % 997));
  }
  for (auto _ : state) {
    if (!memory.admit(g, 1 << 20)) state.SkipWithError("no room");
    g.sequences[0].computed = tokens;
    memory.publish(g, g.sequences[0]);
    memory.release(g.sequences[0]);
  }
  quire_bench::count_items(state, tokens / 16);
  quire_bench::against(state, "pointer_chase_l2");
}

using Blocks1 = with<presets::Vllm, set_block_size<BlockSize<1>>>;

BENCHMARK_TEMPLATE(block, presets::Vllm)->Arg(1000)->Arg(100'000);
BENCHMARK_TEMPLATE(block, presets::VllmPrefixCache)->Arg(1000)->Arg(100'000);
BENCHMARK(run)->Arg(983)->Arg(65'536);
BENCHMARK_TEMPLATE(grow, presets::Vllm);
BENCHMARK_TEMPLATE(grow, Blocks1);
BENCHMARK_TEMPLATE(fork, presets::Vllm)->Arg(256)->Arg(4000);
BENCHMARK_TEMPLATE(fork, Blocks1)->Arg(256);
BENCHMARK_TEMPLATE(swap, presets::Vllm)->Arg(256)->Arg(4000);
BENCHMARK_TEMPLATE(swap, Blocks1)->Arg(256)->Arg(4000);
BENCHMARK(prefix)->Arg(256)->Arg(4000);

}  // namespace
