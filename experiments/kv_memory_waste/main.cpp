// Table 1 and Figures 2, 13 and 15 of Kwon et al., SOSP '23. README.md says what is run and why.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>
#include <experiments/kv_memory_waste/axes.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>

namespace quire::experiment {
namespace {

using SharedWorkload = std::shared_ptr<const workload::Workload>;

/// Table 1: what the paper gives each model for keys and values.
struct SlotRow {
  const model::Shape* shape;
  Hardware hardware;
  std::int64_t devices;
  std::int64_t kv_gib;
};

Run slots_run(const SlotRow& given) {
  Run run;
  run.row.variant = "vllm";
  run.row.workload = "none";
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", "slots").add("model", given.shape->name);
  run.measure = [given] {
    const CostInputs inputs{.model = *given.shape,
                            .hardware = given.hardware,
                            .tensor_parallel = given.devices,
                            .storage = storage_cost<presets::Vllm>(*given.shape),
                            .host = host_overhead::none};
    const MemoryPlan plan = plan_memory(inputs, {.kv_bytes = given.kv_gib << 30});
    // The paper's slots are tokens that fit, before they are cut into blocks.
    const double token_bytes = inputs.storage.kv_token_bytes;
    const double slots = static_cast<double>(given.kv_gib << 30) / token_bytes;
    // What the planner would give by itself, since the paper does not say how it came to its memory.
    const MemoryPlan own = plan_memory(inputs, {});
    return metrics::JsonObject()
        .add("kv_bytes", given.kv_gib << 30)
        .add("token_bytes", static_cast<std::int64_t>(token_bytes))
        .add("slots", static_cast<std::int64_t>(slots))
        .add("block_size", plan.block_tokens.value)
        .add("blocks", plan.device_blocks.value)
        .add("planned_slots", own.device_blocks.value * own.block_tokens.value);
  };
  return run;
}

struct Window {
  Seconds from, to;
};

/// Runs one system for as long as the window and gives everything that the figures show.
template <class System>
metrics::JsonObject observe_memory(const executor::Simulated::Options& setup,
                                   const workload::Workload& requests, Window window) {
  Engine<System, executor::Simulated> engine(setup);
  const Report report = replay(engine, requests,
                               {.until = window.to,
                                .measure_from = window.from,
                                .measure_to = window.to,
                                .record_from = window.to});
  if (report.memory.iterations() == 0) {
    throw state_error(requests.name, "the requests ended before the window began",
                      "more requests, or an earlier window");
  }
  // the artifact averages over steps, plot/plot_fig{2,13}.py
  const auto seen = report.memory.by_iteration();
  return metrics::JsonObject()
      .add("block_size", System::BlockSize::tokens.value)
      .add("scheduler", System::Scheduler::name)
      .add("reservation", System::Reservation::name)
      .add("token_states_percent", 100 * seen.shares.token_states)
      .add("reserved_percent", 100 * seen.shares.reserved)
      .add("internal_percent", 100 * seen.shares.internal)
      .add("external_percent", 100 * seen.shares.external())
      .add("rounding_percent", 100 * seen.shares.rounding)
      .add("mean_batched_requests", seen.running_requests)
      .add("mean_batched_requests_by_time", report.memory.by_time().running_requests)
      .add("saving_percent", 100 * report.memory.by_iteration().saving_from_mean_ratio())
      .add("steps", report.counters.steps)
      .add("preemptions", report.counters.preemptions)
      .add("rejected", report.counters.rejected);
}

template <class System>
Run memory_run(std::string_view part, SharedWorkload requests,
               const executor::Simulated::Options& setup, std::uint64_t seed, double rate,
               Window window) {
  Run run;
  run.row.variant = System::name;
  run.row.workload = requests->name;
  run.row.trace_sha256 = requests->provenance.sha256;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("model", setup.model.name).add("request_rate", rate);
  run.row.axes.add("window_from_s", window.from.value).add("window_to_s", window.to.value);
  run.measure = [=] { return observe_memory<System>(setup, *requests, window); };
  return run;
}

template <class List = Systems>
void add_systems(std::vector<Run>& runs, std::string_view part, workload::Workload requests,
                 const executor::Simulated::Options& setup, std::uint64_t seed, double rate,
                 Window window) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(List{}, [&]<class System>() {
    runs.push_back(memory_run<System>(part, shared, setup, seed, rate, window));
  });
}

/// Users ask for round numbers of tokens: each request's limit is its output rounded up to 256.
workload::Workload with_round_limits(workload::Workload requests) {
  for (Request& r : requests.requests) {
    r.sampling.max_tokens = ceil_div(r.output_length->value, 256) * 256;
  }
  return requests;
}

/// Every reservation in overload, on every workload.
void add_reservations(std::vector<Run>& runs, const executor::Simulated::Options& setup, double end,
                      Window window) {
  const auto add = [&](workload::Workload requests, double rate) {
    add_systems<Reservations>(runs, "reservations", with_round_limits(std::move(requests)), setup,
                              0, rate, window);
  };
  add(workload::sharegpt(poisson_for(4, end, 0)), 4);
  add(workload::alpaca(poisson_for(60, end, 0)), 60);
  add(workload::chat({.generator = poisson_for(3, end, 0)}), 3);
  add(workload::shared_prefix({.prefix = 341, .generator = poisson_for(60, end, 0)}), 60);
}

/// Figure 13's bars of vLLM by what the host takes a request and step beyond python_2023: from nothing, as in
/// the other parts, to what two published runs say of the sampler that the artifact has.
void add_host_times(std::vector<Run>& runs, executor::Simulated::Options setup, double end,
                    Window window) {
  const auto alpaca =
      std::make_shared<const workload::Workload>(workload::alpaca(poisson_for(30, end, 0)));
  const auto sharegpt =
      std::make_shared<const workload::Workload>(workload::sharegpt(poisson_for(2, end, 0)));
  for (const double microseconds : {0., 50., 100., 150., 200., 260.}) {
    setup.host.per_request = microseconds * 1e-6;
    for (const auto& [requests, rate] : {std::pair{alpaca, 30.0}, std::pair{sharegpt, 2.0}}) {
      Run run = memory_run<presets::Vllm>("batch_by_host_time", requests, setup, 0, rate, window);
      run.row.axes.add("host_us_per_request", microseconds);
      runs.push_back(std::move(run));
    }
  }
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  for (const SlotRow& row : {SlotRow{&model::opt_13b, hardware::a100_40gb, 1, 12},
                             SlotRow{&model::opt_66b, hardware::a100_40gb, 4, 21},
                             SlotRow{&model::opt_175b, hardware::a100_80gb, 8, 264}}) {
    runs.push_back(slots_run(row));
  }
  const executor::Simulated::Options setup = paper_engine_setup();
  const std::uint64_t seeds = options.pick<std::uint64_t>(1, 3, 8);
  // The smoke scale keeps a window after the start and little else.
  const double end = options.pick(120.0, 900.0, 900.0);
  const double hour = options.pick(120.0, 3600.0, 3600.0);  // the paper's traces last one
  const Window steady{end / 3, end}, late{hour / 6, hour};
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    add_systems(runs, "waste", workload::sharegpt(poisson_for(4, end, seed)), setup, seed, 4,
                steady);
    add_systems(runs, "batch", workload::sharegpt(poisson_for(2, hour, seed)), setup, seed, 2,
                late);
    // The window of the artifact's script, in which the pool is still filling.
    add_systems(runs, "batch_600_to_900_s", workload::sharegpt(poisson_for(2, end, seed)), setup,
                seed, 2, {end * 2 / 3, end});
    add_systems(runs, "batch", workload::alpaca(poisson_for(30, hour, seed)), setup, seed, 30,
                late);
    for (const std::int32_t width : {2, 4, 6}) {
      for (const bool beam : {false, true}) {
        for (const bool chat : {false, true}) {
          const double rate = chat ? 2 : 20;
          workload::Workload requests =
              workload::with_samples(chat ? workload::sharegpt(poisson_for(rate, end, seed))
                                          : workload::alpaca(poisson_for(rate, end, seed)),
                                     beam ? 1 : width, beam ? width : 0);
          const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
          Run run = memory_run<presets::Vllm>("sharing", shared, setup, seed, rate, steady);
          run.row.axes.add("decoding", beam ? "beam" : "parallel").add("width", width);
          runs.push_back(std::move(run));
        }
      }
    }
  }
  add_reservations(runs, setup, end, steady);
  add_host_times(runs, setup, hour, late);
  if (options.traces.empty()) return runs;
  for (auto& [trace, requests] : open_traces(options.traces)) {
    // As many requests as keep every system's queue full; arrivals all at once.
    const std::size_t count = options.pick<std::size_t>(200, 2000, 8000);
    workload::Workload saturated = workload::with_arrivals(
        workload::first_requests(std::move(requests), count), workload::Saturated{});
    add_systems<Reservations>(runs, "waste", with_round_limits(std::move(saturated)),
                              long_context_setup(model_for(trace)), 0, 0, Window{end / 9, end / 3});
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "kv_memory_waste",
      "Where key-value memory goes under four ways of giving it out, and what sharing saves.\n\n"
      "Examples:\n"
      "  kv_memory_waste --out rows.jsonl\n"
      "  kv_memory_waste --out rows.jsonl --filter waste --scale smoke\n",
      quire::experiment::make_runs);
}
