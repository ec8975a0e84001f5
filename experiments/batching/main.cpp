// Figure 12(a) of Kwon et al., SOSP '23. README.md says what is run and why.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/batching/axes.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>

namespace quire::experiment {
namespace {

using SharedWorkload = std::shared_ptr<const workload::Workload>;

/// Batch cap of the request-level systems on OPT-13B and ShareGPT. \source the paper's artifact,
/// ft/.
constexpr std::int64_t request_level_batch = 5;

template <class System>
metrics::JsonObject latency(executor::Simulated::Options setup, const workload::Workload& requests,
                            Seconds warm_up) {
  setup.limits.max_batch = request_level_batch;
  setup.host = host<System>;
  Engine<System, executor::Simulated> engine(setup);
  const Report report = replay(engine, requests, {.measure_from = warm_up, .record_from = warm_up});
  const metrics::ServingSummary seen = report.summary();
  // The paper leaves open when a request-level system hands out an answer: when the batch ends, as
  // counted here, or when the request's own last token is there.
  double to_last_token = 0;
  for (const metrics::RequestRecord& r : report.records) {
    to_last_token += (r.last_token - r.arrival).value / r.output_length();
  }
  return metrics::JsonObject()
      .add("block_size", System::BlockSize::tokens.value)
      .add("scheduler", System::Scheduler::name)
      .add("reservation", System::Reservation::name)
      .add("mean_normalized_latency_s", seen.normalized_latency.mean())
      .add("median_normalized_latency_s", seen.normalized_latency.median())
      .add("p99_normalized_latency_s", seen.normalized_latency.percentile(99))
      .add("mean_normalized_last_token_s", to_last_token / static_cast<double>(seen.completed))
      .add("mean_batched_requests", report.memory.by_time().running_requests)
      .add("completed", seen.completed)
      .add("failed", seen.failed)
      .add("preemptions", report.counters.preemptions)
      .add("steps", report.counters.steps)
      .add("output_throughput", seen.output_throughput())
      .add("duration", report.duration.value);
}

template <class System>
Run ladder_run(SharedWorkload requests, const executor::Simulated::Options& setup,
               std::uint64_t seed, double rate, Seconds warm_up) {
  Run run;
  run.row.variant = System::name;
  run.row.workload = requests->name;
  run.row.trace_sha256 = requests->provenance.sha256;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "ladder").add("model", setup.model.name).add("request_rate", rate);
  run.row.axes.add("requests", requests->requests.size()).add("warm_up_s", warm_up.value);
  run.measure = [=] { return latency<System>(setup, *requests, warm_up); };
  return run;
}

void add_rung(std::vector<Run>& runs, const executor::Simulated::Options& setup, std::uint64_t seed,
              double rate, Seconds warm_up, workload::Workload requests, bool published_limits) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(Systems{}, [&]<class System>() {
    if (published_limits && rate > last_rate<System>) return;
    runs.push_back(ladder_run<System>(shared, setup, seed, rate, warm_up));
  });
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::uint64_t seeds = options.pick(1, 2, 5);
  const double seconds = options.pick(300.0, 3600.0, 3600.0);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    for (std::size_t i = 0; i < std::size(rates); i += options.pick<std::size_t>(3, 1, 1)) {
      add_rung(runs, opt_13b_setup(), seed, rates[i], 60.0,
               workload::sharegpt(poisson_for(rates[i], seconds, seed)), true);
    }
  }
  if (options.traces.empty()) return runs;
  for (const auto& [trace, requests] : open_traces(options.traces)) {
    const workload::Workload some =
        workload::first_requests(requests, options.pick<std::size_t>(100, 600, 2000));
    for (const double share : {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}) {
      const double rate = share * trace.top_rate;
      // A trace's own arrival pattern, stretched; lengths without times arrive by a Poisson
      // process.
      add_rung(runs, long_context_setup(model_for(trace)), 0, rate, 0.0,
               some.timed ? workload::at_rate(some, rate)
                          : workload::with_arrivals(some, workload::Poisson{rate}),
               false);
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "batching",
      "Latency against request rate for six ways of batching.\n\n"
      "Examples:\n"
      "  batching --out rows.jsonl\n"
      "  batching --out rows.jsonl --filter vllm --scale smoke\n",
      quire::experiment::make_runs);
}
