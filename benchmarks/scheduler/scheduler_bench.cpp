// What the control plane costs under each scheduler: a closed workload runs to its end on the
// simulated executor. An item is one sequence in one step: planned, given blocks, and booked.
// Walking from one sequence's state to the next costs at least a dependent load each.
// Behind a queue of so many, an item is a request, and an event an arrival, an end or a sequence's part
// of a step.
#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/type_list.hpp>
#include <quire/cost_model/cost_model.hpp>
#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/prefix_index/radix_tree.hpp>
#include <quire/presets/presets.hpp>
#include <quire/scheduler/scheduler.hpp>

namespace {

using namespace quire::scheduler;
using Policies =
    quire::type_list<StaticBatch, DynamicBatch, Orca, Fcfs, ChunkedPrefill, Priority, Sjf, Srpt,
                     LearningToRank, Mlfq, Vtc, WeightedVtc, PredictiveVtc, Qoe, LongestPrefix>;

template <class Policy>
inline constexpr bool by_prefix = quire::wants_cached_prefix<Policy>;

/// vLLM with another scheduler; one that never preempts gets all of its memory at admission, and one that
/// looks for cached prefixes an index of them.
template <class Policy>
struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = Policy::name;
  using Scheduler = Policy;
  using Reservation =
      std::conditional_t<quire::never_preempts<Policy> || Policy::drains,
                         quire::reservation::RequestLimit, quire::reservation::OnDemand>;
  using PrefixIndex = std::conditional_t<by_prefix<Policy>, quire::prefix_index::RadixTree,
                                         quire::prefix_index::None>;
};

template <class Policy>
void steps(benchmark::State& state) {
  const auto requests = state.range(0);
  std::int64_t items = 0;
  for (auto _ : state) {
    quire::Engine<Variant<Policy>, quire::executor::Simulated> engine(
        {.model = quire::model::llama_13b, .hardware = quire::hardware::a100_80gb});
    quire::Rng rng(1);
    for (std::int64_t i = 0; i < requests; ++i) {
      quire::Request request;
      request.prompt_length = static_cast<std::int64_t>(16 + rng.below(256));
      request.output_length = static_cast<std::int64_t>(16 + rng.below(128));
      request.sampling.max_tokens = 256;
      engine.submit(std::move(request));
    }
    while (engine.has_work()) {
      const auto& stats = engine.step();
      if (stats.idle) {
        if (!stats.wake_at) break;
        engine.advance_to(*stats.wake_at);
      } else {
        items += static_cast<std::int64_t>(engine.last_plan().sequences.size());
      }
      benchmark::DoNotOptimize(engine.take_finished());
    }
    if (engine.has_work()) state.SkipWithError("the workload did not end");
  }
  state.SetItemsProcessed(items);
  quire_bench::against(state, "pointer_chase_l2");
}

/// A whole simulation behind a queue of so many requests of 100 clients, in which who ends is replaced: the
/// mean lengths of the Azure conversation trace, at most 64 at once, latencies summed up. Where prefixes
/// count, a prompt is a quarter as long, and begins with up to 256 tokens that its client's others have.
template <class Policy>
void behind(benchmark::State& state) {
  quire::model::Shape shape = quire::model::llama_7b;
  shape.max_length = 4096;
  quire::Engine<Variant<Policy>, quire::executor::Simulated> engine(
      {.model = shape,
       .hardware = quire::hardware::a100_80gb,
       .limits = {.max_sequences = 64, .max_batch = 64, .max_delay = 0}});
  engine.keep({.times = false, .text = false});
  quire::Rng rng(1);
  const auto submit = [&] {
    quire::Request r;
    r.arrival = engine.now();
    r.prompt_length = static_cast<std::int64_t>(1 + rng.below(2 * 1155));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(2 * 211));
    r.sampling.max_tokens = *r.output_length;
    r.tenant = quire::TenantId{static_cast<std::uint32_t>(rng.below(100))};
    if (by_prefix<Policy>) {
      const std::int64_t length = (r.prompt_length.value + 3) / 4;
      for (std::int64_t i = 0; i < length; ++i) {
        const std::uint64_t token = i < 256
                                        ? r.tenant.value * 256ULL + static_cast<std::uint64_t>(i)
                                        : 1000 + rng.below(30'000);
        r.prompt.push_back(static_cast<quire::TokenId>(token));
      }
      r.prompt_length = length;
    }
    engine.submit(std::move(r));
  };
  for (std::int64_t i = 0; i < state.range(0); ++i) submit();
  std::int64_t ended = 0, events = 0;
  for (auto _ : state) {
    const auto& stats = engine.step();
    events += stats.running_sequences;
    for (const auto& group : engine.take_finished()) {
      benchmark::DoNotOptimize(group->timeline.finished);
      submit();
      ++ended;
    }
  }
  state.SetItemsProcessed(ended);
  const auto rate = [](double n) { return benchmark::Counter(n, benchmark::Counter::kIsRate); };
  state.counters["events_per_s"] = rate(static_cast<double>(events + 2 * ended));
  state.counters["batch"] = static_cast<double>(events) /
                            static_cast<double>(std::max<std::int64_t>(1, state.iterations()));
  quire_bench::against(state, "pointer_chase_l2");
}

const bool registered = [] {
  quire::for_each_type(Policies{}, []<class Policy>() {
    benchmark::RegisterBenchmark(("steps/" + std::string(Policy::name)).c_str(), steps<Policy>)
        ->Arg(100)
        ->Arg(1000)
        ->Unit(benchmark::kMillisecond);
    auto* queue = benchmark::RegisterBenchmark(("queue/" + std::string(Policy::name)).c_str(),
                                               behind<Policy>);
    queue->ArgNames({"queue"})->Unit(benchmark::kMicrosecond);
    for (const std::int64_t n : {10, 100, 1000, 10'000, 100'000}) queue->Arg(n);
  });
  return true;
}();

}  // namespace
