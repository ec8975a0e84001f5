// Figure 12(a) of Kwon et al., SOSP '23. README.md says what is run and why.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/batching/axes.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/observe.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>

namespace quire::experiment {
namespace {

using SharedWorkload = std::shared_ptr<const workload::Workload>;

/// Batch cap of the request-level systems on OPT-13B and ShareGPT. \source the paper's artifact,
/// ft/.
constexpr std::int64_t request_level_batch = 5;

template <class System>
Row latency(executor::Simulated::Options setup, const workload::Workload& requests,
            Seconds warm_up) {
  setup.limits.max_batch = request_level_batch;
  setup.host = host<System>;
  Engine<System, executor::Simulated> engine(setup);
  LatencyObserver seen{.from = warm_up};
  WeightedMean batched;
  replay_until(engine, requests, Seconds{1e9}, [&](const auto&, const auto& stats) {
    batched.add(static_cast<double>(stats.running_groups), stats.seconds.value);
    seen.collect(engine);
  });
  seen.collect(engine);
  if (seen.normalized.empty())
    throw state_error(requests.name, "no request ended after the warm-up");
  std::sort(seen.normalized.begin(), seen.normalized.end());
  const double sum = std::accumulate(seen.normalized.begin(), seen.normalized.end(), 0.0);
  const auto at = [&](double share) {
    return seen.normalized[static_cast<std::size_t>(
        share * static_cast<double>(seen.normalized.size() - 1))];
  };
  return Row()
      .set("block_size", System::BlockSize::tokens.value)
      .set("scheduler", System::Scheduler::name)
      .set("reservation", System::Reservation::name)
      .set("mean_normalized_latency_s", sum / static_cast<double>(seen.normalized.size()))
      .set("median_normalized_latency_s", at(0.5))
      .set("p99_normalized_latency_s", at(0.99))
      .set("mean_batched_requests", batched.value())
      .set("completed", seen.normalized.size())
      .set("rejected", seen.rejected)
      .set("preemptions", engine.counters().preemptions)
      .set("steps", engine.counters().steps)
      .set("output_throughput", static_cast<double>(seen.output_tokens) / engine.now().value)
      .set("duration", engine.now().value);
}

template <class System>
Cell ladder_cell(SharedWorkload requests, const executor::Simulated::Options& setup,
                 std::uint64_t seed, double rate, Seconds warm_up) {
  Cell cell{.variant = std::string(System::name), .workload = requests->name, .seed = seed};
  cell.trace_sha256 = requests->provenance.sha256;
  cell.identity.set("part", "ladder").set("model", setup.model.name).set("request_rate", rate);
  cell.identity.set("requests", requests->requests.size()).set("warm_up_s", warm_up.value);
  cell.run = [=] { return latency<System>(setup, *requests, warm_up); };
  return cell;
}

void add_rung(std::vector<Cell>& cells, const executor::Simulated::Options& setup,
              std::uint64_t seed, double rate, Seconds warm_up, workload::Workload requests,
              bool published_limits) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(Systems{}, [&]<class System>() {
    if (published_limits && rate > last_rate<System>) return;
    cells.push_back(ladder_cell<System>(shared, setup, seed, rate, warm_up));
  });
}

std::vector<Cell> make_cells(const Options& options) {
  std::vector<Cell> cells;
  const std::uint64_t seeds = options.pick(1, 2, 5);
  const double seconds = options.pick(300.0, 3600.0, 3600.0);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    for (std::size_t i = 0; i < std::size(rates); i += options.pick<std::size_t>(3, 1, 1)) {
      add_rung(cells, opt_13b_setup(), seed, rates[i], 60.0,
               workload::sharegpt(poisson_for(rates[i], seconds, seed)), true);
    }
  }
  if (options.traces.empty()) return cells;
  for (const auto& [trace, requests] : open_traces(options.traces)) {
    const workload::Workload some =
        workload::first_requests(requests, options.pick<std::size_t>(100, 600, 2000));
    for (const double rate : {0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0}) {
      // A trace's own arrival pattern, stretched; lengths without times arrive by a Poisson
      // process.
      add_rung(cells, long_context_setup(model_for(trace)), 0, rate, 0.0,
               some.timed ? workload::at_rate(some, rate)
                          : workload::with_arrivals(some, workload::Poisson{rate}),
               false);
    }
  }
  return cells;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run(argc, argv, "batching",
                                "Latency against request rate for six ways of batching.\n\n"
                                "Examples:\n"
                                "  batching --out rows.jsonl\n"
                                "  batching --out rows.jsonl --filter vllm --scale smoke\n",
                                quire::experiment::make_cells);
}
