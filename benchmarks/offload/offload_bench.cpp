// How long an offload policy takes to decide what becomes of a preempted group.
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/offload/offload.hpp>

namespace {

using namespace quire::offload;
using Policies = quire::type_list<Recompute, RecomputeSingleSwapGroup, SwapToHost>;

template <class Policy>
void on_preempt(benchmark::State& state) {
  quire::Rng rng(1);
  std::vector<quire::PreemptionContext> groups(1024);
  for (auto& group : groups) {
    group.sequences = static_cast<std::int64_t>(1 + rng.below(4));
    group.computed = static_cast<std::int64_t>(rng.below(2048));
    group.blocks = static_cast<std::int64_t>(rng.below(128));
    group.host_free = static_cast<std::int64_t>(rng.below(256));
  }
  const Policy policy{};
  for (auto _ : state) {
    for (const auto& group : groups) {
      auto choice = policy.on_preempt(group);
      benchmark::DoNotOptimize(choice);
    }
  }
  quire_bench::count_items(state, static_cast<std::int64_t>(groups.size()));
  quire_bench::against(state, "dependent_add");
}

const bool registered = [] {
  quire::for_each_type(Policies{}, []<class Policy>() {
    benchmark::RegisterBenchmark(("on_preempt/" + std::string(Policy::name)).c_str(),
                                 on_preempt<Policy>);
  });
  return true;
}();

}  // namespace
