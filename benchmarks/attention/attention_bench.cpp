// Paged attention, one thread. Decoding is bound by the bytes of keys and values, each counted once;
// prefill by multiply-adds, 4 x head_dim flops per query head and visible key.
#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/attention/attention.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>

namespace {

using namespace quire;

constexpr std::size_t head_dim = 128, kv_heads = 8;

template <class Format>
struct Setup {
  model::Shape shape;
  kv_format::Arena<Format> arena;
  std::vector<BlockId> table;
  std::vector<float> q, out;
  std::size_t heads;
  attention::Workspace workspace;
  ThreadPool one{1};

  Setup(std::int64_t length, std::int64_t block_tokens, std::size_t rows, std::size_t query_heads)
      : heads(query_heads) {
    shape.layers = 1;
    shape.kv_heads = kv_heads;
    shape.head_dim = head_dim;
    const std::int64_t blocks = ceil_div(length, block_tokens);
    arena = kv_format::Arena<Format>(shape, blocks, block_tokens);
    Rng rng(1);
    std::vector<float> values(head_dim);
    for (std::uint32_t b = 0; b < blocks; ++b) table.push_back({b});
    for (std::size_t i = table.size(); i > 1; --i) std::swap(table[i - 1], table[rng.below(i)]);
    const auto view = arena.layer(0);
    for (const BlockId b : table) {
      for (std::size_t h = 0; h < kv_heads; ++h) {
        for (std::size_t t = 0; t < static_cast<std::size_t>(block_tokens); ++t) {
          for (float& x : values) x = static_cast<float>(rng.uniform());
          Format::store(view.keys(b, h), view.block_tokens, head_dim, t, values.data());
          Format::store(view.values(b, h), view.block_tokens, head_dim, t, values.data());
        }
      }
    }
    q.assign(rows * heads * head_dim, 0.1f);
    out.resize(q.size());
  }
  template <class Variant>
  void run(std::int64_t position, std::size_t rows, const Variant& variant) {
    const attention::SequenceRows row{0, rows, position, table};
    const kv_format::Arena<Format>& cache = arena;
    const std::size_t width = heads * head_dim;
    attention::paged<Format>(cache.layer(0),
                             {q.data(), width, out.data(), width, heads, 0.09f, {&row, 1}}, variant,
                             workspace, one);
    benchmark::DoNotOptimize(out.data());
  }
};

/// Args: length, block size, query heads per KV head.
template <class Format>
void decode(benchmark::State& state) {
  const std::int64_t length = state.range(0);
  Setup<Format> setup(length, state.range(1), 1,
                      kv_heads * static_cast<std::size_t>(state.range(2)));
  for (auto _ : state) setup.run(length - 1, 1, attention::Causal{});
  quire_bench::count_bytes(state,
                           static_cast<std::int64_t>(static_cast<double>(length) * 2 * kv_heads *
                                                     Format::token_bytes(head_dim)));
  quire_bench::against(state, "read_memory");
}

/// What block tables cost: one token decoded over keys and values in blocks that lie anywhere, and over
/// the same in one run. The two take turns, in time that this thread ran, so that whatever else the
/// machine does falls on both alike; cost_percent is the median over pairs of what the blocks take
/// longer. Args: as decode().
template <class Format>
void paging(benchmark::State& state) {
  const std::int64_t length = state.range(0);
  const auto heads = kv_heads * static_cast<std::size_t>(state.range(2));
  Setup<Format> paged(length, state.range(1), 1, heads), whole(length, length, 1, heads);
  const auto thread_seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  const auto seconds = [&](Setup<Format>& setup) {
    const double start = thread_seconds();
    setup.run(length - 1, 1, attention::Causal{});
    return thread_seconds() - start;
  };
  std::vector<double> ratios;
  bool paged_first = true;
  for (auto _ : state) {
    double in_blocks = 0, in_one = 0;
    if (paged_first) in_blocks = seconds(paged);
    in_one = seconds(whole);
    if (!paged_first) in_blocks = seconds(paged);
    paged_first = !paged_first;
    ratios.push_back(in_blocks / in_one);
    state.SetIterationTime(in_blocks);
  }
  std::sort(ratios.begin(), ratios.end());
  state.counters["cost_percent"] = 100 * (ratios[ratios.size() / 2] - 1);
  quire_bench::count_bytes(state,
                           static_cast<std::int64_t>(static_cast<double>(length) * 2 * kv_heads *
                                                     Format::token_bytes(head_dim)));
  quire_bench::against(state, "read_memory");
}

/// Args: prompt length. A whole prompt with 4 query heads a KV head.
template <class Format, class Variant>
void prefill(benchmark::State& state, const Variant& variant) {
  const std::int64_t length = state.range(0);
  const auto rows = static_cast<std::size_t>(length);
  Setup<Format> setup(length, 16, rows, 4 * kv_heads);
  for (auto _ : state) setup.run(0, rows, variant);
  std::int64_t pairs = 0;
  for (std::int64_t p = 0; p < length; ++p) pairs += p - variant.first_visible(p) + 1;
  quire_bench::count_items(state, pairs * 4 * std::int64_t{head_dim} * 4 * std::int64_t{kv_heads});
  quire_bench::against(state, "fused_multiply_add");
}

void decodes(benchmark::internal::Benchmark* b) {
  for (const std::int64_t block : {1, 16, 256}) b->Args({16384, block, 4});
  for (const std::int64_t group : {1, 8}) b->Args({16384, 16, group});
  b->ArgNames({"length", "block", "group"})->Unit(benchmark::kMillisecond);
}
BENCHMARK(decode<kv_format::Fp32>)->Apply(decodes)->Name("decode/fp32");
BENCHMARK(decode<kv_format::Bf16>)->Apply(decodes)->Name("decode/bf16");

void pagings(benchmark::internal::Benchmark* b) {
  for (const std::int64_t length : {1024, 16384}) {
    for (const std::int64_t group : {1, 4}) b->Args({length, 16, group});
  }
  b->ArgNames({"length", "block", "group"})->Unit(benchmark::kMillisecond)->UseManualTime();
}
BENCHMARK(paging<kv_format::Fp32>)->Apply(pagings)->Name("paging/fp32");
BENCHMARK(paging<kv_format::Bf16>)->Apply(pagings)->Name("paging/bf16");

/// Args: length. Decoding over lists of kept tokens, with and without counting their weights.
template <class Votes>
void retained(benchmark::State& state) {
  const std::int64_t length = state.range(0);
  Setup<kv_format::Fp32> setup(length, 16, 1, 4 * kv_heads);
  std::vector<retention::Lane> lanes(kv_heads);
  std::vector<std::size_t> at;
  for (retention::Lane& lane : lanes) {
    at.push_back(at.size() * static_cast<std::size_t>(length));
    for (std::int64_t p = 0; p < length; ++p) {
      lane.entries.push_back({p, static_cast<std::uint32_t>(p), 0});
    }
  }
  std::vector<std::int64_t> votes(at.size() * static_cast<std::size_t>(length));
  const attention::SequenceRows row{0, 1, length - 1, setup.table};
  const attention::RetainedRows kept{lanes, length - 1, 1, at, votes.data()};
  const Votes cast = [] {
    if constexpr (Votes::enabled) {
      return Votes(RetentionLimits{});
    } else {
      return Votes{};
    }
  }();
  const kv_format::Arena<kv_format::Fp32>& cache = setup.arena;
  const std::size_t width = setup.heads * head_dim;
  for (auto _ : state) {
    attention::retained<kv_format::Fp32, Votes, false>(
        cache.layer(0),
        {setup.q.data(), width, setup.out.data(), width, setup.heads, 0.09f, {&row, 1}},
        {{&kept, 1}, retention::Scope::head, 0, nullptr}, cast, setup.workspace, setup.one);
    benchmark::DoNotOptimize(setup.out.data());
  }
  quire_bench::count_bytes(state,
                           static_cast<std::int64_t>(static_cast<double>(length) * 2 * kv_heads *
                                                     kv_format::Fp32::token_bytes(head_dim)));
  quire_bench::against(state, "read_memory");
}
BENCHMARK(retained<retention::NoVotes>)
    ->Name("decode_retained/fp32")
    ->Arg(16384)
    ->ArgName("length")
    ->Unit(benchmark::kMillisecond);
BENCHMARK(retained<retention::AllVotes>)
    ->Name("decode_retained_votes/fp32")
    ->Arg(16384)
    ->ArgName("length")
    ->Unit(benchmark::kMillisecond);

const bool registered = [] {
  auto add = [](const char* name, auto variant) {
    benchmark::RegisterBenchmark(
        (std::string("prefill/") + name).c_str(),
        [variant](benchmark::State& state) { prefill<kv_format::Fp32>(state, variant); })
        ->Arg(1024)
        ->Unit(benchmark::kMillisecond);
  };
  add("causal", attention::Causal{});
  add("sliding_window_256", attention::SlidingWindow(256));
  add("soft_cap", attention::SoftCap(30));
  return true;
}();

}  // namespace
