// What a router costs for each request, against the number of instances. Beside it the least that a
// look at every instance costs: the sum of one member of each.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/router/router.hpp>

namespace {

using namespace quire;
using Policies = type_list<router::Random, router::RoundRobin, router::LeastOutstanding,
                           router::JoinShortestQueue, router::PrefixAware, router::Infaas,
                           router::Llumnix, router::DistServe, router::Splitwise>;

std::vector<InstanceView> instances(std::int64_t n) {
  Rng rng(1);
  std::vector<InstanceView> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].capacity = 1000;
    all[i].running = static_cast<std::int64_t>(rng.below(100));
    all[i].used = static_cast<std::int64_t>(rng.below(1000));
    all[i].queued = static_cast<std::int64_t>(rng.below(5000));
  }
  return all;
}

/// Requests of four chunks, the first of few texts. \shape (1024)
std::vector<Request> requests() {
  Rng rng(2);
  std::vector<Request> all(1024);
  for (Request& r : all) {
    r.chunks = {{rng.below(16), 512}, {rng.below(256), 512}, {rng(), 512}, {rng(), 512}};
    r.prompt_length = 2048;
  }
  return all;
}

template <class Policy>
void route(benchmark::State& state) {
  RouterOptions options;
  options.instances = static_cast<std::size_t>(state.range(0));
  options.cache_tokens = 1'000'000;
  Policy policy(options);
  const auto all = instances(state.range(0));
  const auto asked = requests();
  std::size_t i = 0;
  for (auto _ : state) {
    const ClusterView view{Seconds{0.001 * static_cast<double>(i)}, all};
    std::size_t at = policy.route(asked[i++ % asked.size()], view);
    benchmark::DoNotOptimize(at);
  }
  state.SetItemsProcessed(state.iterations());
  quire_bench::against(state, "look_at_each/" + std::to_string(state.range(0)));
}

void look_at_each(benchmark::State& state) {
  const auto all = instances(state.range(0));
  for (auto _ : state) {
    std::int64_t sum = 0;
    for (const InstanceView& i : all) {
      sum += i.running;
      benchmark::DoNotOptimize(sum);
    }
  }
  state.SetItemsProcessed(state.iterations());
}

const bool registered = [] {
  const auto sizes = [](auto* b) { b->Arg(4)->Arg(16)->Arg(64); };
  sizes(benchmark::RegisterBenchmark("look_at_each", look_at_each));
  for_each_type(Policies{}, [&]<class P>() {
    sizes(benchmark::RegisterBenchmark(("route/" + std::string(P::name)).c_str(), route<P>));
  });
  return true;
}();

}  // namespace
