// How fast the emulator runs kernels: what bounds the tests, not any device. Times on a GPU come from
// kernels/device/run.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/attention/causal.hpp>
#include <quire/core/aligned.hpp>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/simt/simt.cuh>

namespace {

using namespace quire;
using quire_bench::count_items;

/// Nothing but barriers: each one switches through every lane of the block.
struct Barriers {
  static constexpr std::string_view name = "barriers";
  static constexpr unsigned threads = 128;
  struct Params {
    unsigned rounds;
  };
  QUIRE_DEVICE static void run(const Params& p) {
    for (unsigned i = 0; i < p.rounds; ++i) simt::sync();
  }
};
void switches(benchmark::State& state) {
  constexpr unsigned rounds = 1000;
  for (auto _ : state) simt::launch<Barriers>({}, {rounds});
  count_items(state, rounds * Barriers::threads);
}
BENCHMARK(switches);

/// Tokens times KV heads of decode attention a second, race check included.
template <class Format, class Query>
void decode(benchmark::State& state) {
  using Key = kernels::KernelKey<Format, 16, 64, Query>;
  const auto group = static_cast<std::uint32_t>(state.range(0));
  constexpr std::int32_t tokens = 256;
  AlignedArray<std::byte> memory(tokens / 16 * 2 * Key::slab_bytes);
  std::vector<std::uint32_t> table(tokens / 16), begin = {0};
  for (std::uint32_t b = 0; b < table.size(); ++b) table[b] = b;
  const std::vector<std::int32_t> lengths = {tokens};
  std::vector<Query> q(group * 64), out(group * 64);
  const auto plan = kernels::plan_decode(std::span(lengths), attention::Causal(), {.blocks = 1});
  kernels::PagedDecodeParams<Query, attention::Causal> p;
  p.q = q.data();
  p.out = out.data();
  p.q_stride = p.out_stride = group * 64;
  p.cache = {memory.data(), 2 * Key::slab_bytes, 1};
  p.blocks = table.data();
  p.table_begin = begin.data();
  p.lengths = lengths.data();
  p.work = plan.work.data();
  p.heads = group;
  for (auto _ : state) {
    kernels::paged_decode<Key, attention::Causal>(p, static_cast<std::uint32_t>(plan.work.size()),
                                                  nullptr, 0);
  }
  count_items(state, tokens);
}
BENCHMARK(decode<kv_format::Fp32, float>)->Arg(1);
BENCHMARK(decode<kv_format::Bf16, Bf16>)->Arg(8);

}  // namespace
