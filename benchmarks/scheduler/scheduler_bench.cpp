// What the control plane costs under each scheduler: a closed workload runs to its end on the
// simulated executor. An item is one sequence in one step: planned, given blocks, and booked.
// Walking from one sequence's state to the next costs at least a dependent load each.
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
#include <quire/presets/presets.hpp>
#include <quire/scheduler/scheduler.hpp>

namespace {

using namespace quire::scheduler;
using Policies =
    quire::type_list<StaticBatch, DynamicBatch, Orca, Fcfs, ChunkedPrefill, Priority, Sjf, Srpt,
                     LearningToRank, Mlfq, Vtc, WeightedVtc, PredictiveVtc, Qoe, LongestPrefix>;

/// vLLM with another scheduler; one that never preempts gets all of its memory at admission.
template <class Policy>
struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = Policy::name;
  using Scheduler = Policy;
  using Reservation =
      std::conditional_t<quire::never_preempts<Policy> || Policy::drains,
                         quire::reservation::RequestLimit, quire::reservation::OnDemand>;
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

const bool registered = [] {
  quire::for_each_type(Policies{}, []<class Policy>() {
    benchmark::RegisterBenchmark(("steps/" + std::string(Policy::name)).c_str(), steps<Policy>)
        ->Arg(100)
        ->Arg(1000)
        ->Unit(benchmark::kMillisecond);
  });
  return true;
}();

}  // namespace
