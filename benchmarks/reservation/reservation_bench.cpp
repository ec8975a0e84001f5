// How long a reservation policy takes to decide, for requests of varied lengths.
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/reservation/reservation.hpp>

namespace {

using namespace quire::reservation;
using Policies = quire::type_list<MaxLength, PowerOfTwo, Oracle, OnDemand, RequestLimit>;

std::vector<quire::LengthHint> requests(std::size_t count) {
  quire::Rng rng(1);
  std::vector<quire::LengthHint> hints(count);
  for (auto& hint : hints) {
    hint.prompt = static_cast<std::int64_t>(1 + rng.below(1000));
    hint.output = static_cast<std::int64_t>(1 + rng.below(1000));
    hint.limit = 1000;
    hint.max_length = 2048;
  }
  return hints;
}

template <class Policy>
void reserve(benchmark::State& state) {
  const auto hints = requests(1024);
  for (auto _ : state) {
    for (const auto& hint : hints) {
      auto tokens = Policy::reserve(hint);
      benchmark::DoNotOptimize(tokens);
    }
  }
  quire_bench::count_items(state, static_cast<std::int64_t>(hints.size()));
  quire_bench::against(state, "dependent_add");
}

const bool registered = [] {
  quire::for_each_type(Policies{}, []<class Policy>() {
    benchmark::RegisterBenchmark(("reserve/" + std::string(Policy::name)).c_str(), reserve<Policy>);
  });
  return true;
}();

}  // namespace
