// What a retention policy decides after a step of one token, for one lane whose cache is full; and, for
// quest, which pages one query and head reads.
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/retention/retention.hpp>

namespace {

using namespace quire::retention;
using quire::RetentionLimits;
using quire::Rng;
using quire::Tokens;
using Dropping =
    quire::type_list<SlidingWindow, StreamingLlm, H2O, Tova, Scissorhands, SnapKv, PyramidKv>;

/// Arg: budget. Items: decisions.
template <class Policy>
void after_step(benchmark::State& state) {
  const std::int64_t budget = state.range(0);
  const RetentionLimits limits{.budget = budget};
  const Policy policy(limits, 4);
  Rng rng(1);
  Lane lane;
  std::vector<std::int64_t> votes;
  for (std::int64_t p = 0; p <= budget; ++p) {
    lane.entries.push_back(
        {p, static_cast<std::uint32_t>(p), static_cast<std::int64_t>(rng.below(9))});
    votes.push_back(static_cast<std::int64_t>(rng.below(65536)));
  }
  std::vector<std::uint32_t> drop;
  std::int64_t computed = budget + 1;
  for (auto _ : state) {
    drop.clear();
    policy.after_step(lane, votes, {.prompt = 1, .computed = computed++, .tokens = 1, .layer = 0},
                      drop);
    benchmark::DoNotOptimize(drop.data());
  }
  quire_bench::count_items(state, 1);
  quire_bench::against(state, "dependent_add");
}

/// Arg: tokens of the context. Pages of 16, a head of 128. Items: pages.
void choose(benchmark::State& state) {
  constexpr std::size_t dims = 128;
  const auto pages = static_cast<std::size_t>(state.range(0) / 16);
  const Quest policy({.budget = state.range(0) / 8, .dense_layers = 0}, 16);
  Rng rng(1);
  std::vector<float> ranges(pages * 2 * dims), query(dims), bounds(pages);
  for (float& x : ranges) x = static_cast<float>(rng.normal());
  for (float& x : query) x = static_cast<float>(rng.normal());
  std::vector<std::uint32_t> chosen;
  for (auto _ : state) {
    for (std::size_t p = 0; p < pages; ++p) {
      bounds[p] = Quest::bound(query, &ranges[p * 2 * dims], &ranges[p * 2 * dims + dims]);
    }
    policy.choose(bounds, chosen);
    benchmark::DoNotOptimize(chosen.data());
  }
  quire_bench::count_bytes(state, static_cast<std::int64_t>(ranges.size() * sizeof(float)));
  quire_bench::against(state, "read_memory");
}
BENCHMARK(choose)->Name("choose/quest")->Arg(4096)->Arg(32768)->ArgName("context");

/// Nothing to decide: what the loop around the others costs.
void nothing(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(KeepAll::keeps_all);
  quire_bench::count_items(state, 1);
  quire_bench::against(state, "dependent_add");
}
BENCHMARK(nothing)->Name("after_step/keep_all");

const bool registered = [] {
  quire::for_each_type(Dropping{}, []<class Policy>() {
    benchmark::RegisterBenchmark(("after_step/" + std::string(Policy::name)).c_str(),
                                 after_step<Policy>)
        ->Arg(64)
        ->Arg(1024)
        ->Arg(16384)
        ->ArgName("budget");
  });
  return true;
}();

}  // namespace
