// A real engine's requests beside the same requests in simulated time. README.md says what is run and why.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/ground_truth/axes.hpp>
#include <experiments/ground_truth/timings.hpp>
#include <quire/cost_model/tabulated.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/metrics/distribution.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {
namespace {

using Clock = executor::BasicSimulated<cost_model::Tabulated>;
using Set = std::shared_ptr<const TimingSet>;

/// TTFT, TPOT and end-to-end latency as the engine stamps them: from queued to first and last token.
struct Latencies {
  metrics::Distribution ttft, tpot, e2el;
};

Latencies real_latencies(const TimingSet& set) {
  std::vector<double> first, per_token, whole;
  for (const RealTiming& t : set.requests) {
    first.push_back(1e3 * (t.first_token - t.queued));
    whole.push_back(1e3 * (t.last_token - t.queued));
    if (t.output > 1) {
      per_token.push_back(1e3 * (t.last_token - t.first_token) / static_cast<double>(t.output - 1));
    }
  }
  return {metrics::Distribution(std::move(first)), metrics::Distribution(std::move(per_token)),
          metrics::Distribution(std::move(whole))};
}

Latencies simulated_latencies(const Report& report) {
  std::vector<double> first, per_token, whole;
  for (const metrics::RequestRecord& r : report.records) {
    if (!r.completed()) continue;
    first.push_back(1e3 * (r.first_token - r.queued).value);
    whole.push_back(1e3 * (r.last_token - r.queued).value);
    if (r.output_tokens > Tokens{1}) {
      per_token.push_back(1e3 * (r.last_token - r.first_token).value /
                          static_cast<double>(r.output_tokens.value - 1));
    }
  }
  return {metrics::Distribution(std::move(first)), metrics::Distribution(std::move(per_token)),
          metrics::Distribution(std::move(whole))};
}

Clock::Options setup_of(const TimingSet& set) {
  Clock::Options o{.model = set.model,
                   .hardware = set.hardware,
                   .tensor_parallel = set.tensor_parallel,
                   .limits = {.max_batched_tokens = set.max_batched_tokens,
                              .max_sequences = set.max_sequences,
                              .max_length = set.max_length.value_or(0),
                              .watermark = 0,
                              .chunk = set.max_batched_tokens,
                              .asynchronous = set.asynchronous},
                   .memory = {.utilization = set.memory_share},
                   .host = host_overhead::vllm_0_19(set.max_sequences, set.tensor_parallel),
                   .profile = set.profile};
  if (set.blocks) {
    const StorageCost storage = storage_cost<VllmV1>(set.model);
    o.memory.kv_bytes = static_cast<std::int64_t>(static_cast<double>(*set.blocks) *
                                                  storage.kv_block_bytes * (1 + 1e-12)) +
                        1;
  }
  return o;
}

/// One line of the error table: whether each error is within its bar.
void say(const std::string& title, const std::vector<std::pair<std::string, double>>& errors) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::cout << title << '\n';
  for (const auto& [name, error] : errors) {
    const bool mean = name.starts_with("mean");
    const double bar = !mean                             ? 6
                       : name.find("ttft") < name.size() ? 3
                       : name.find("tpot") < name.size() ? 1
                                                         : 1.5;
    char line[120];
    std::snprintf(line, sizeof line, "  [%s] %-14s %+6.2f %%  (bar %.1f %%)",
                  std::abs(error) <= bar ? "true " : "false", name.c_str(), error, bar);
    std::cout << line << '\n';
  }
}

template <class System>
metrics::JsonObject compare(const TimingSet& set, const Clock::Options& setup,
                            const std::string& title) {
  Engine<System, Clock> engine(setup);
  const Report report = replay(engine, workload_of(set));
  const Latencies real = real_latencies(set), here = simulated_latencies(report);
  metrics::JsonObject out;
  std::vector<std::pair<std::string, double>> table;
  const auto add = [&](const std::string& name, double simulated, double measured) {
    out.add(name, simulated).add("real_" + name, measured);
    out.add("error_" + name.substr(0, name.size() - 3) + "_percent",
            100 * (simulated / measured - 1));
    if (!name.starts_with("p9") || name.starts_with("p99")) {
      table.emplace_back(name.substr(0, name.size() - 3), 100 * (simulated / measured - 1));
    }
    if (const auto peer = set.peer.find(name); peer != set.peer.end()) {
      out.add("peer_error_" + name.substr(0, name.size() - 3) + "_percent",
              100 * (peer->second / measured - 1));
    }
  };
  const auto all = [&](const std::string& name, const metrics::Distribution& simulated,
                       const metrics::Distribution& measured) {
    add("mean_" + name, simulated.mean(), measured.mean());
    add("median_" + name, simulated.median(), measured.median());
    for (const int p : {90, 95, 99}) {
      add("p" + std::to_string(p) + "_" + name, simulated.percentile(p), measured.percentile(p));
    }
  };
  all("ttft_ms", here.ttft, real.ttft);
  all("tpot_ms", here.tpot, real.tpot);
  all("e2el_ms", here.e2el, real.e2el);
  say(title, table);
  return out.add("completed", here.ttft.count())
      .add("steps", report.counters.steps)
      .add("preemptions", report.counters.preemptions)
      .add("prefix_hit_tokens", report.counters.prefix_hit_tokens.value)
      .add("blocks", report.geometry.device_blocks.value);
}

template <class System>
Run run_of(const Set& set, std::string_view clock, const Clock::Options& setup) {
  Run run;
  run.row.variant = System::name;
  run.row.workload = "sharegpt300";
  run.row.trace_sha256 = set->dataset;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "truth").add("model", set->name).add("hardware", set->hardware_name);
  run.row.axes.add("tensor_parallel", set->tensor_parallel).add("clock", clock);
  const std::string title = set->name + " on " + std::to_string(set->tensor_parallel) + " x " +
                            set->hardware_name + ", " + std::string(System::name) + ", " +
                            std::string(clock);
  run.measure = [set, setup, title] { return compare<System>(*set, setup, title); };
  return run;
}

/// What planning a step ahead changes by itself, on the roofline: needs no file.
Run ahead_run(const Options& options, bool asynchronous) {
  Run run;
  run.row.variant = presets::Sarathi::name;
  run.row.workload = "sharegpt";
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "ahead").add("model", model::llama3_1_8b.name);
  run.row.axes.add("hardware", hardware::rtx_pro_6000.name).add("asynchronous", asynchronous);
  const std::size_t requests = options.pick<std::size_t>(100, 1000, 4000);
  run.measure = [=] {
    const auto play = [requests](bool ahead) {
      executor::Simulated::Options setup{.model = model::llama3_1_8b,
                                         .hardware = hardware::rtx_pro_6000};
      setup.limits.max_batched_tokens = setup.limits.chunk = 2048;
      setup.limits.max_sequences = 128;
      setup.limits.asynchronous = ahead;
      Engine<presets::Sarathi, executor::Simulated> engine(setup);
      return replay(engine, workload::sharegpt({.requests = requests, .rate = 5, .seed = 0}))
          .summary();
    };
    const auto summary = play(asynchronous);
    metrics::JsonObject out;
    out.add("mean_ttft_ms", summary.ttft.mean())
        .add("mean_tpot_ms", summary.tpot.mean())
        .add("mean_e2el_ms", summary.e2el.mean());
    if (asynchronous) {  // in steps of decoding
      out.add("delay_in_steps",
              (summary.ttft.mean() - play(false).ttft.mean()) / summary.tpot.mean());
    }
    return out;
  };
  return run;
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  for (const bool asynchronous : {false, true}) runs.push_back(ahead_run(options, asynchronous));
  if (options.traces.empty()) return runs;
  for (const std::string& prefix : find_timings(options.traces)) {
    const auto set = std::make_shared<const TimingSet>(read_timings(prefix));
    const Clock::Options setup = setup_of(*set);
    const auto add = [&](std::string_view clock, const Clock::Options& o) {
      runs.push_back(set->prefix_caching ? run_of<VllmV1>(set, clock, o)
                                         : run_of<presets::Sarathi>(set, clock, o));
    };
    add("full", setup);
    Clock::Options less = setup;
    less.limits.asynchronous = false;
    add("synchronous scheduling", less);
    less = setup;
    less.host = host_overhead::none;
    add("no host time", less);
    less = setup;
    less.host.beyond_graph = 0;
    add("no host time beyond graphs", less);
    if (set->prefix_caching) runs.push_back(run_of<presets::Sarathi>(set, "full", setup));
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(argc, argv, "ground_truth",
                                           "Requests that a real engine served, replayed in "
                                           "simulated time on the profile of its card.\n\n"
                                           "Examples:\n"
                                           "  ground_truth --out rows.jsonl --traces DIR\n",
                                           quire::experiment::make_runs);
}
