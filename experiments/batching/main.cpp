// Figures 1, 12, 14, 16 and 17 of Kwon et al., SOSP '23, and the ratios of vLLM's launch post. README.md
// says what is run and why.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/batching/axes.hpp>
#include <experiments/batching/panels.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/rate_curve.hpp>
#include <experiments/common/workloads.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>

namespace quire::experiment {
namespace {

/// Seconds a token at which the figures' systems are compared.
constexpr double half_a_second = 0.5;

/// Batch cap of the request-level systems on OPT-13B and ShareGPT. \source the paper's artifact,
/// ft/.
constexpr std::int64_t request_level_batch = 5;

executor::Simulated::Options request_level_setup(executor::Simulated::Options setup) {
  setup.limits.max_batch = request_level_batch;
  return setup;
}

template <class System>
Rung latency(executor::Simulated::Options setup, const workload::Workload& requests,
             Seconds warm_up) {
  setup.host = host<System>;
  if (setup.tensor_parallel > 1 && behind_ray<System>) {
    setup.host.per_step = host_overhead::ray_2023_step;
  }
  setup.hardware = as_used_by<System>(setup.hardware);
  Engine<System, executor::Simulated> engine(setup);
  const Report report = replay(engine, requests, {.measure_from = warm_up, .record_from = warm_up});
  const metrics::ServingSummary seen = report.summary();
  // The paper leaves open when a request-level system hands out an answer: when the batch ends, as
  // counted here, or when the request's own last token is there.
  double to_last_token = 0;
  for (const metrics::RequestRecord& r : report.records) {
    to_last_token += (r.last_token - r.arrival).value / r.output_length();
  }
  Rung rung{.latency = seen.normalized_latency.mean(),
            .other = to_last_token / static_cast<double>(seen.completed)};
  rung.row.add("block_size", System::BlockSize::tokens.value)
      .add("scheduler", System::Scheduler::name)
      .add("reservation", System::Reservation::name)
      .add("mean_normalized_latency_s", rung.latency)
      .add("median_normalized_latency_s", seen.normalized_latency.median())
      .add("p99_normalized_latency_s", seen.normalized_latency.percentile(99))
      .add("mean_normalized_last_token_s", rung.other)
      .add("mean_batched_requests", report.memory.by_time().running_requests)
      .add("completed", seen.completed)
      .add("failed", seen.failed)
      .add("preemptions", report.counters.preemptions)
      .add("steps", report.counters.steps)
      .add("output_throughput", seen.output_throughput())
      .add("duration", report.duration.value);
  return rung;
}

using SharedCurve = std::shared_ptr<RateCurve>;

Run run_at(const SharedCurve& curve, std::string_view part, std::string_view variant,
           std::string_view workload, std::string_view model, std::uint64_t seed, double rate) {
  Run run;
  run.row.variant = variant;
  run.row.workload = workload;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("model", model).add("request_rate", rate);
  run.measure = [curve, rate] { return curve->at(rate).row; };
  return run;
}

/// The rate at which a system passes 0.5 s a token, by bisection between the rungs of its ladder.
Run limit_of(const SharedCurve& curve, const std::vector<double>& ladder, std::string_view panel,
             std::string_view variant, std::string_view workload, std::string_view model,
             std::uint64_t seed, double Rung::*latency = &Rung::latency) {
  Run run = run_at(curve, "limit", variant, workload, model, seed, 0);
  run.row.axes = {};
  run.row.axes.add("part", "limit").add("panel", panel).add("model", model);
  run.row.axes.add("level_s_per_token", half_a_second);
  run.row.axes.add("timed_to", latency == &Rung::latency ? "answer" : "last_token");
  run.measure = [=] { return find_limit(*curve, ladder, half_a_second, 0.02, latency).row(); };
  return run;
}

// ---- Figure 12(a) --------------------------------------------------------------------------------

template <class System>
void add_ladder(std::vector<Run>& runs, std::uint64_t seed, const Options& options) {
  const double seconds = options.pick(300.0, 3600.0, 3600.0);
  const executor::Simulated::Options setup = request_level_setup(paper_engine_setup());
  const auto curve = std::make_shared<RateCurve>([=](double rate) {
    return latency<System>(setup, workload::sharegpt(poisson_for(rate, seconds, seed)), 60.0);
  });
  std::vector<double> ladder;
  for (std::size_t i = 0; i < std::size(rates); i += options.pick<std::size_t>(3, 1, 1)) {
    if (rates[i] <= last_rate<System>) ladder.push_back(rates[i]);
  }
  for (const double rate : ladder) {
    Run run = run_at(curve, "ladder", System::name, "sharegpt", setup.model.name, seed, rate);
    run.row.axes.add("requests", static_cast<std::size_t>(rate * seconds)).add("warm_up_s", 60.0);
    runs.push_back(std::move(run));
  }
  const auto limit = [&](double Rung::*by) {
    runs.push_back(
        limit_of(curve, ladder, "fig12a", System::name, "sharegpt", setup.model.name, seed, by));
  };
  limit(&Rung::latency);
  if (System::Scheduler::drains) limit(&Rung::other);
}

/// A real trace, with its own arrival pattern stretched; lengths without times arrive by a Poisson
/// process.
template <class System>
void add_trace(std::vector<Run>& runs, const executor::Simulated::Options& setup, double rate,
               const std::shared_ptr<const workload::Workload>& requests) {
  Run run = run_at({}, "ladder", System::name, requests->name, setup.model.name, 0, rate);
  run.row.trace_sha256 = requests->provenance.sha256;
  run.row.axes.add("requests", requests->requests.size()).add("warm_up_s", 0.0);
  run.measure = [=] { return latency<System>(setup, *requests, 0.0).row; };
  runs.push_back(std::move(run));
}

// ---- Figures 12(b) to (f), 14, 16 and 17 --------------------------------------------------------

/// vLLM with the pages of a registered prefix shared, for the panels in which the paper shares one.
using SharingVllm = presets::VllmPrefixCache;

workload::Workload requests_of(const Panel& panel, double rate, Seconds seconds,
                               std::uint64_t seed) {
  workload::GeneratorOptions how = poisson_for(rate, seconds, seed);
  how.requests = std::max<std::size_t>(how.requests, 50);
  how.n = static_cast<std::int32_t>(panel.n);
  how.beam_width = static_cast<std::int32_t>(panel.beam_width);
  if (panel.workload == "sharegpt") return workload::sharegpt(how);
  if (panel.workload == "alpaca") return workload::alpaca(how);
  if (panel.workload == "chat") {
    return workload::chat({.context = 1024,
                           .max_output = 1024,
                           .new_probability = panel.new_probability,
                           .generator = how});
  }
  return workload::shared_prefix({.prefix = panel.prefix, .generator = how});
}

template <class System>
void add_panel(std::vector<Run>& runs, const Panel& panel, const Ladder& ladder,
               std::string_view variant, const Options& options) {
  executor::Simulated::Options setup = table_1_setup(*panel.model);
  if (panel.max_batch > 0) setup.limits.max_batch = panel.max_batch;
  const bool forks = panel.n > 1 || panel.beam_width > 0;
  const double seconds = options.pick(60.0, forks ? 300.0 : 600.0, forks ? 600.0 : 3600.0);
  const Seconds warm_up = seconds / 10;
  const auto curve = std::make_shared<RateCurve>([=, &panel](double rate) {
    return latency<System>(setup, requests_of(panel, rate, seconds, 0), warm_up);
  });
  const std::vector<double> climbed =
      rungs(ladder, options.pick<std::size_t>(2, forks ? 4 : 5, 12));
  if (climbed.empty()) return;
  for (const double rate : climbed) {
    Run run = run_at(curve, panel.part, variant, panel.workload, panel.model->name, 0, rate);
    run.row.axes.add("seconds", seconds).add("n", panel.n).add("beam_width", panel.beam_width);
    run.row.axes.add("prefix", panel.prefix);
    runs.push_back(std::move(run));
  }
  runs.push_back(
      limit_of(curve, climbed, panel.part, variant, panel.workload, panel.model->name, 0));
}

void add_panels(std::vector<Run>& runs, const Options& options) {
  for (const Panel& panel : panels) {
    add_panel<presets::FasterTransformer>(runs, panel, panel.faster_transformer,
                                          presets::FasterTransformer::name, options);
    add_panel<presets::OrcaMax>(runs, panel, panel.max, presets::OrcaMax::name, options);
    add_panel<presets::OrcaPow2>(runs, panel, panel.pow2, presets::OrcaPow2::name, options);
    add_panel<presets::OrcaOracle>(runs, panel, panel.oracle, presets::OrcaOracle::name, options);
    if (panel.prefix > 0) {
      add_panel<SharingVllm>(runs, panel, panel.vllm, presets::Vllm::name, options);
    } else {
      add_panel<presets::Vllm>(runs, panel, panel.vllm, presets::Vllm::name, options);
    }
  }
}

// ---- Figure 1 -------------------------------------------------------------------------------------

/// What the weights and the cache take of the device, in its makers' gigabytes.
void add_memory_split(std::vector<Run>& runs) {
  Run run;
  run.row.variant = presets::Vllm::name;
  run.row.workload = "none";
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "fig01_memory").add("model", model::opt_13b.name);
  run.measure = [] {
    constexpr double device = 40e9;
    const executor::Simulated::Options setup = paper_engine_setup();
    const CostInputs in = executor::Simulated::inputs<presets::Vllm>(setup);
    const MemoryPlan plan = plan_memory(in, setup.memory);
    return metrics::JsonObject()
        .add("weights_percent", 100 * plan.weight_bytes / device)
        .add("kv_percent", 100 * plan.kv_bytes / device);
  };
  runs.push_back(std::move(run));
}

/// Memory and throughput by the size of the batch, with more requests waiting than any batch holds.
template <class System>
void add_batch_size(std::vector<Run>& runs, std::int64_t batch, const Options& options) {
  Run run;
  run.row.variant = System::name;
  run.row.workload = "sharegpt";
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "fig01").add("model", model::opt_13b.name).add("batch_limit", batch);
  const double seconds = options.pick(100.0, 900.0, 3600.0);
  run.row.axes.add("seconds", seconds);
  run.measure = [=] {
    executor::Simulated::Options setup = paper_engine_setup();
    setup.limits.max_sequences = batch;
    Engine<System, executor::Simulated> engine(setup);
    const auto count = static_cast<std::size_t>(4 * seconds);
    double generated = 0, window = 0;
    const auto count_tokens = [&](const StepStats& stats, Seconds end) {
      if (end < Seconds{seconds / 3}) return;
      generated += static_cast<double>(stats.running_groups);  // a token each
      window += stats.seconds.value;
    };
    const Report report = replay(engine, workload::sharegpt({.requests = count}),
                                 {.until = seconds,
                                  .measure_from = seconds / 3,
                                  .measure_to = seconds,
                                  .on_step = count_tokens,
                                  .stream = true});
    const auto seen = report.memory.by_time();
    const double taken = 1 - seen.shares.free - seen.shares.holes;
    const CostInputs in = executor::Simulated::inputs<System>(setup);
    const MemoryPlan plan = plan_memory(in, setup.memory);
    return metrics::JsonObject()
        .add("mean_batched_requests", seen.running_requests)
        .add("output_throughput", generated / window)
        .add("memory_gb", 1e-9 * (plan.weight_bytes + taken * plan.kv_bytes))
        .add("steps", report.counters.steps);
  };
  runs.push_back(std::move(run));
}

// ---- the launch post ------------------------------------------------------------------------------

/// Output tokens a second with all requests there at once: LLaMA-13B on an A100-40GB, ShareGPT lengths.
template <class System>
void add_blog(std::vector<Run>& runs, std::string_view variant, std::int32_t n,
              std::int64_t max_batch, const Options& options) {
  Run run;
  run.row.variant = variant;
  run.row.workload = "sharegpt";
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "blog").add("model", model::llama_13b.name);
  run.row.axes.add("n", n).add("max_batch", max_batch);
  const std::size_t count = options.pick<std::size_t>(60, 600, 2000);
  run.row.axes.add("requests", count);
  run.measure = [=] {
    executor::Simulated::Options setup = opt_13b_setup();
    setup.model = model::llama_13b;
    if (max_batch > 0) setup.limits.max_batch = max_batch;
    Engine<System, executor::Simulated> engine(setup);
    const Report report =
        replay(engine, workload::sharegpt({.requests = count, .n = n}), {.stream = true});
    return metrics::JsonObject()
        .add("output_throughput",
             static_cast<double>(report.streamed.output_tokens.value) / report.duration.value)
        .add("mean_batched_requests", report.memory.by_time().running_requests)
        .add("completed", report.streamed.completed)
        .add("failed", report.streamed.failed);
  };
  runs.push_back(std::move(run));
}

void add_blogs(std::vector<Run>& runs, const Options& options) {
  for (const std::int32_t n : {1, 3}) {
    add_blog<presets::Vllm>(runs, "vllm", n, 0, options);
    // TGI reserves prompt and max_tokens; with max_tokens the true length that is Orca (Oracle)
    add_blog<presets::OrcaOracle>(runs, "tgi", n, 0, options);
    // and with a max_tokens that says less: the next power of two, the model's whole length
    add_blog<presets::OrcaPow2>(runs, "tgi_pow2", n, 0, options);
    add_blog<presets::OrcaMax>(runs, "tgi_max_length", n, 0, options);
    for (const std::int64_t batch : {1, 2, 4}) {
      if (batch * n <= 7) {  // reservations of 2,048 tokens that the memory holds
        add_blog<presets::HfTransformers>(runs, "hf_transformers", n, batch, options);
      }
    }
  }
}

// ---- what a slower sampler takes ------------------------------------------------------------------

/// vLLM pull request 820's runs: Llama-2-13B on an A100-80GB, 1,000 ShareGPT prompts at once, before and
/// after its sampler took all sequences as one. What lies between the two gave python_2023_loop; their
/// level gave nothing. Lengths are log-normal with the means of that benchmark, 246 in and 233 out.
void add_sampler(std::vector<Run>& runs, const Options& options) {
  const std::size_t count = options.pick<std::size_t>(100, 1000, 1000);
  for (const auto& [sampler, host_time] : {std::pair{"loop", host_overhead::python_2023_loop},
                                           std::pair{"vectorized", host_overhead::python_2023}}) {
    Run run;
    run.row.variant = presets::Vllm::name;
    run.row.workload = "sharegpt_v3_fitted";
    run.row.mode = metrics::Mode::simulated;
    run.row.axes.add("part", "sampler").add("sampler", sampler).add("requests", count);
    run.measure = [count, host_time = host_time] {
      executor::Simulated::Options setup = opt_13b_setup();
      setup.model = model::llama_13b;
      setup.model.max_length = 4096;
      setup.hardware = hardware::a100_80gb;
      setup.memory.kv_bytes = 0;  // what the weights leave
      setup.limits.max_sequences = 256;
      setup.host = host_time;
      Engine<presets::Vllm, executor::Simulated> engine(setup);
      const Report report = replay(
          engine,
          workload::synthetic(workload::LogNormalLength{389.6, 1.2, 1024},
                              workload::LogNormalLength{265.6, 0.9, 1024}, {.requests = count}),
          {.stream = true});
      return metrics::JsonObject()
          .add("request_throughput",
               static_cast<double>(report.streamed.completed) / report.duration.value)
          .add("mean_batched_requests", report.memory.by_time().running_requests)
          .add("failed", report.streamed.failed);
    };
    runs.push_back(std::move(run));
  }
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  for (std::uint64_t seed = 0; seed < options.pick<std::uint64_t>(1, 2, 5); ++seed) {
    for_each_type(Systems{}, [&]<class System>() { add_ladder<System>(runs, seed, options); });
  }
  add_panels(runs, options);
  add_memory_split(runs);
  for (const std::int64_t batch : {1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40}) {
    if (batch <= 8) add_batch_size<presets::OrcaMax>(runs, batch, options);
    add_batch_size<presets::Vllm>(runs, batch, options);
  }
  add_blogs(runs, options);
  add_sampler(runs, options);
  if (options.traces.empty()) return runs;
  for (const auto& [trace, requests] : open_traces(options.traces)) {
    const workload::Workload some =
        workload::first_requests(requests, options.pick<std::size_t>(100, 600, 2000));
    const auto setup = request_level_setup(long_context_setup(model_for(trace)));
    for (const double share : {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}) {
      const double rate = share * trace.top_rate;
      const auto shared = std::make_shared<const workload::Workload>(
          some.timed ? workload::at_rate(some, rate)
                     : workload::with_arrivals(some, workload::Poisson{rate}));
      for_each_type(Systems{},
                    [&]<class System>() { add_trace<System>(runs, setup, rate, shared); });
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "batching",
      "Latency against request rate for six ways of batching: three models, two workloads, "
      "samples,\n"
      "beams, shared prefixes and conversations.\n\n"
      "Examples:\n"
      "  batching --out rows.jsonl\n"
      "  batching --out rows.jsonl --filter vllm --scale smoke\n",
      quire::experiment::make_runs);
}
