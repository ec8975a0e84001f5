// What an admission policy costs for each block that a request asks for: on_request and, for every
// second one, admit. Beside it a chain of dependent loads over as much memory as four bytes a block.
//
// QUIRE_BENCH_BLOCKS=1000000 adds sizes up to that (default 10,000, for a quick look).
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/common/ceiling.hpp"

#include <quire/admission/admission.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>

namespace {

using namespace quire;
using Policies = type_list<admission::Always, admission::ReuseThreshold, admission::TinyLfu>;

/// Names of texts, half of them among the few that come again. \shape (2^16)
std::vector<std::uint64_t> contents(std::int64_t blocks) {
  Rng rng(2);
  std::vector<std::uint64_t> names(1 << 16);
  for (std::uint64_t& name : names) {
    name =
        1 + mix64(rng.below(static_cast<std::uint64_t>(rng.below(2) == 0 ? 64 : 4 * blocks))) / 2;
  }
  return names;
}

template <class Policy>
void request(benchmark::State& state) {
  Policy policy{BlockCount{state.range(0)}};
  const auto names = contents(state.range(0));
  std::size_t i = 0;
  for (auto _ : state) {
    const BlockContext context{.content = names[i & (names.size() - 1)]};
    policy.on_request(context);
    if (++i % 2 == 0) {
      bool yes = policy.admit(context, names[(i * 7) & (names.size() - 1)]);
      benchmark::DoNotOptimize(yes);
    }
  }
  state.SetItemsProcessed(state.iterations());
  quire_bench::against(state, "pointer_chase/" + std::to_string(state.range(0)));
}

/// The ceiling: one dependent load an item, at random, over 4 bytes a block.
void pointer_chase(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  huge_vector<std::uint32_t> next(n);  // as the policies keep theirs
  std::iota(next.begin(), next.end(), 0u);
  Rng rng(5);
  for (std::size_t i = n; i > 1; --i) std::swap(next[i - 1], next[rng.below(i - 1)]);  // one cycle
  std::uint32_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(at = next[at]);
  state.SetItemsProcessed(state.iterations());
}

const bool registered = [] {
  const char* text = std::getenv("QUIRE_BENCH_BLOCKS");
  const std::int64_t most = text == nullptr ? 10000 : std::atoll(text);
  for (std::int64_t n = 1000; n <= most; n *= 10) {
    benchmark::RegisterBenchmark("pointer_chase", pointer_chase)->Arg(n);
    for_each_type(Policies{}, [n]<class Policy>() {
      benchmark::RegisterBenchmark(("request/" + std::string(Policy::name)).c_str(),
                                   request<Policy>)
          ->Arg(n);
    });
  }
  return true;
}();

}  // namespace
