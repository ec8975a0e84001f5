// What the control plane adds to a step: host time of one iteration in which so many sequences of
// 4,000 tokens decode one token each, over an executor that does nothing. An item is one sequence
// in one step. Walking from one sequence's state to the next costs at least a dependent load each.
#include <cstdint>
#include <string>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/metrics/memory_accounting.hpp>
#include <quire/metrics/streaming_summary.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/presets.hpp>

namespace {

using namespace quire;

constexpr std::int64_t context = 4000;

/// Draws the same token for everybody, in no time.
struct Nothing {
  struct Options {
    SchedulerLimits limits{};
    std::int64_t device_blocks = 0;
    std::int64_t host_blocks = 0;
  };
  static model::Shape shape(const Options&) {
    return {.name = "none",
            .layers = 1,
            .hidden = 1,
            .heads = 1,
            .kv_heads = 1,
            .head_dim = 1,
            .ffn = 1,
            .vocab = 1,
            .max_length = 1 << 20};
  }
  template <class C>
  static KvGeometry geometry(const Options& options) {
    return {options.device_blocks, options.host_blocks, C::BlockSize::tokens};
  }
  template <class C>
  struct Bound {
    static constexpr std::string_view name = "nothing";
    static constexpr bool needs_tokens = false;
    Bound(const Options&, const KvGeometry&) {}
    void execute(const StepPlan& plan, StepResult& result) {
      result.clear();
      result.seconds = 1e-2;
      for (const SequencePlan& s : plan.sequences) {
        result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
        for (std::int32_t d = 0; d < s.draws; ++d) {
          result.draws.push_back({static_cast<TokenId>(d), -1.0f - static_cast<float>(d)});
        }
      }
      result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
    }
  };
};

/// An engine in which `groups` requests of `width` sequences decode.
template <class C>
Engine<C, Nothing> decoding(std::int64_t groups, std::int32_t width) {
  const std::int64_t sequences = groups * width;
  // room for all, reservations rounded up to powers of two included
  const std::int64_t blocks = sequences * 2 * (2 * context) / C::BlockSize::tokens.value;
  Engine<C, Nothing> engine({.limits = {.max_batched_tokens = 1 << 24,
                                        .max_sequences = sequences,
                                        .max_length = 2 * context,
                                        .chunk = 1 << 24},
                             .device_blocks = blocks});
  for (std::int64_t i = 0; i < groups; ++i) {
    Request r;
    r.prompt_length = context;
    r.output_length = context - 1;
    r.sampling.max_tokens = context - 1;
    r.sampling.n = width;
    engine.submit(std::move(r));
  }
  for (int i = 0; i < 3; ++i) engine.step();
  return engine;
}

template <class C>
void step(benchmark::State& state) {
  const std::int64_t sequences = state.range(0);
  const auto width = static_cast<std::int32_t>(state.range(1));
  auto engine = decoding<C>(sequences / width, width);
  for (auto _ : state) {
    const StepStats& stats = engine.step();
    benchmark::DoNotOptimize(stats);
    if (stats.running_sequences != sequences) {  // some have ended
      state.PauseTiming();
      engine = decoding<C>(sequences / width, width);
      state.ResumeTiming();
    }
  }
  quire_bench::count_items(state, sequences);
  quire_bench::against(state, "pointer_chase_l2");
}

/// Requests that come, run for a few steps and go: submit, admission, growth, release, hand-over.
template <class C>
void turnover(benchmark::State& state) {
  const std::int64_t queue = state.range(0);
  Engine<C, Nothing> engine(
      {.limits = {.max_batched_tokens = 1 << 24, .max_sequences = 64, .max_length = 1024},
       .device_blocks = 8192});
  auto submit = [&engine] {
    Request r;
    r.prompt_length = 200;
    r.output_length = 4;
    r.sampling.max_tokens = 4;
    engine.submit(std::move(r));
  };
  for (std::int64_t i = 0; i < queue; ++i) submit();
  std::int64_t ended = 0;
  for (auto _ : state) {
    engine.step();
    for (const auto& group : engine.take_finished()) {
      benchmark::DoNotOptimize(group.get());
      submit();
      ++ended;
    }
  }
  state.SetItemsProcessed(ended);
  state.counters["steps_per_s"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  quire_bench::against(state, "pointer_chase_l2");
}

/// A whole simulation behind a queue of so many: chunked prefill, a 7-billion model on one A100, the
/// mean lengths of the Azure conversation trace, latencies summed up as requests end. An item is a
/// request; an event is an arrival, an end, or a sequence's part of a step.
void simulation(benchmark::State& state) {
  model::Shape shape = model::llama_7b;
  shape.max_length = 4096;
  Engine<presets::Sarathi, executor::Simulated> engine(
      {.model = shape, .hardware = hardware::a100_80gb, .limits = {.max_sequences = 128}});
  engine.keep({.times = false, .text = false});
  Rng rng(1);
  auto submit = [&] {
    Request r;
    r.arrival = engine.now();
    r.prompt_length = static_cast<std::int64_t>(1 + rng.below(2 * 1155));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(2 * 211));
    r.sampling.max_tokens = *r.output_length;
    engine.submit(std::move(r));
  };
  for (std::int64_t i = 0; i < state.range(0); ++i) submit();
  metrics::StreamingSummary summary;
  metrics::MemoryAccounting memory;
  std::int64_t ended = 0, events = 0;
  for (auto _ : state) {
    const StepStats& stats = engine.step();
    memory.add(stats, engine.now());
    for (const auto& [gap, count] : stats.token_gaps) summary.itl.add(1e3 * gap, count);
    events += stats.running_sequences;
    for (const auto& group : engine.take_finished()) {
      summary.add(metrics::record_of(*group));
      submit();
      ++ended;
    }
  }
  state.SetItemsProcessed(ended);
  const auto rate = [](double n) { return benchmark::Counter(n, benchmark::Counter::kIsRate); };
  state.counters["events_per_s"] = rate(static_cast<double>(events + 2 * ended));
  state.counters["batch"] = memory.by_iteration().running_sequences;
  quire_bench::against(state, "pointer_chase_l2");
}

using Engines =
    type_list<presets::Vllm, presets::VllmPrefixCache, presets::OrcaMax, presets::Sarathi>;

const bool registered = [] {
  auto* whole = benchmark::RegisterBenchmark("simulation/sarathi", simulation);
  whole->ArgNames({"queue"})->Unit(benchmark::kMicrosecond);
  for (const std::int64_t queue : {10, 100, 1000, 10'000, 100'000}) whole->Arg(queue);
  for_each_type(Engines{}, []<class C>() {
    const std::string name(C::name);
    auto* one = benchmark::RegisterBenchmark(("step/" + name).c_str(), step<C>);
    one->ArgNames({"sequences", "samples"})->Unit(benchmark::kMicrosecond);
    for (const std::int64_t n : {1, 64, 256, 1024}) one->Args({n, 1});
    one->Args({256, 4});
    auto* two = benchmark::RegisterBenchmark(("turnover/" + name).c_str(), turnover<C>);
    two->ArgNames({"queue"})->Unit(benchmark::kMicrosecond);
    for (const std::int64_t queue : {10, 100, 1000, 10'000, 100'000}) two->Arg(queue);
  });
  return true;
}();

}  // namespace
