// Section 7.2 and Figure 18(b) of Kwon et al., SOSP '23. README.md says what is run and why.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <experiments/block_size/axes.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>

namespace quire::experiment {
namespace {

using SharedWorkload = std::shared_ptr<const workload::Workload>;

/// How full the blocks of all requests are when each ends.
metrics::JsonObject utilisation(const workload::Workload& requests, Tokens block) {
  std::int64_t used = 0, given = 0;
  for (const Request& r : requests.requests) {
    const Tokens tokens = r.prompt_length + r.output_length.value_or(0);
    used += tokens.value;
    given += blocks_for(tokens, block).value * block.value;
  }
  return metrics::JsonObject()
      .add("utilisation_percent", 100.0 * static_cast<double>(used) / static_cast<double>(given))
      .add("requests", requests.requests.size());
}

/// Share of the memory bandwidth that decode attention reaches with blocks of `block` tokens.
/// A thread group has one head's part of one block in flight. By Little's law a device with W
/// groups, latency t and bandwidth B reads at most W * (bytes a group has in flight) / t; time for
/// a block is the sum of its transfer and of its share of the latency. The measured share belongs
/// to blocks of 16. \source vLLM's first attention kernel (one block a warp, section 5.1 of the
/// paper); 108 SMs with 16 resident warps, and 600 ns of loaded memory latency, are assumptions
/// about it, not measurements.
double attention_share(const Hardware& device, std::int64_t head_dim, std::int64_t block) {
  constexpr double warps = 108 * 16, latency = 600e-9;
  const auto slowdown = [&](double tokens, double ceiling) {
    const double in_flight = warps * tokens * 2.0 * static_cast<double>(head_dim);
    return 1 + ceiling * device.bandwidth * latency / in_flight;
  };
  // the ceiling without latency solves share(16) = measured share
  const double measured = device.attention_bandwidth_share;
  const double per_share = slowdown(16, 1) - 1;
  const double ceiling = measured / (1 - measured * per_share);
  return ceiling / slowdown(static_cast<double>(block), ceiling);
}

/// How the attention kernel's speed depends on the block size.
enum class Kernel { latency_bound, equal };

template <class Config>
metrics::JsonObject latency(const workload::Workload& requests, Seconds warm_up, Kernel kernel) {
  executor::Simulated::Options setup = paper_engine_setup();
  if (kernel == Kernel::latency_bound) {
    setup.hardware.attention_bandwidth_share =
        attention_share(setup.hardware, setup.model.head_dim, Config::BlockSize::tokens.value);
  }
  Engine<Config, executor::Simulated> engine(setup);
  const Report report = replay(engine, requests, {.record_from = warm_up});
  const metrics::ServingSummary seen = report.summary();
  return metrics::JsonObject()
      .add("mean_normalized_latency_s", seen.normalized_latency.mean())
      .add("attention_bandwidth_share", setup.hardware.attention_bandwidth_share)
      .add("completed", seen.completed)
      .add("failed", seen.failed)
      .add("preemptions", report.counters.preemptions)
      .add("duration", report.duration.value);
}

template <class Config>
Run named(const workload::Workload& requests, std::uint64_t seed) {
  Run run;
  run.row.variant = Config::name;
  run.row.workload = requests.name;
  run.row.trace_sha256 = requests.provenance.sha256;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  return run;
}

void add_utilisation(std::vector<Run>& runs, workload::Workload requests, std::uint64_t seed) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(BlockSizes{}, [&]<class Config>() {
    Run run = named<Config>(*shared, seed);
    run.row.axes.add("part", "utilisation").add("block_size", Config::BlockSize::tokens.value);
    run.measure = [shared] { return utilisation(*shared, Config::BlockSize::tokens); };
    runs.push_back(std::move(run));
  });
}

void add_latency(std::vector<Run>& runs, workload::Workload requests, std::uint64_t seed,
                 double rate, Seconds warm_up, Kernel kernel = Kernel::latency_bound) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(BlockSizes{}, [&]<class Config>() {
    Run run = named<Config>(*shared, seed);
    run.row.axes.add("part", kernel == Kernel::equal ? "latency_equal_kernels" : "latency");
    run.row.axes.add("block_size", Config::BlockSize::tokens.value);
    run.row.axes.add("model", model::opt_13b.name).add("request_rate", rate);
    run.row.axes.add("warm_up_s", warm_up.value);
    run.measure = [shared, warm_up, kernel] { return latency<Config>(*shared, warm_up, kernel); };
    runs.push_back(std::move(run));
  });
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::size_t draws = options.pick<std::size_t>(10'000, 80'000, 80'000);
  add_utilisation(runs, workload::sharegpt({.requests = draws}), 0);
  add_utilisation(runs, workload::alpaca({.requests = draws}), 0);
  const std::uint64_t seeds = options.pick<std::uint64_t>(1, 3, 8);
  const double seconds = options.pick(60.0, 600.0, 600.0);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    for (const Kernel kernel : {Kernel::latency_bound, Kernel::equal}) {
      add_latency(runs, workload::sharegpt(poisson_for(2.01, seconds, seed)), seed, 2.01,
                  seconds / 2, kernel);
      add_latency(runs, workload::alpaca(poisson_for(30.1, seconds, seed)), seed, 30.1, seconds / 2,
                  kernel);
    }
  }
  if (options.traces.empty()) return runs;
  for (auto& [trace, requests] : open_traces(options.traces))
    add_utilisation(runs, std::move(requests), 0);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "block_size",
      "How full blocks are, and how fast requests run, by tokens a block.\n\n"
      "Examples:\n"
      "  block_size --out rows.jsonl\n"
      "  block_size --out rows.jsonl --filter utilisation\n",
      quire::experiment::make_runs);
}
