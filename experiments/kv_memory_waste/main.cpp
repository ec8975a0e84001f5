// Table 1 and Figures 2, 13 and 15 of Kwon et al., SOSP '23. README.md says what is run and why.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/observe.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>
#include <experiments/kv_memory_waste/axes.hpp>
#include <quire/cost_model/memory_planner.hpp>

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

Cell slots_cell(const SlotRow& row) {
  Cell cell{.variant = "vllm", .workload = "none"};
  cell.identity.set("part", "slots").set("model", row.shape->name);
  cell.run = [row] {
    const CostInputs inputs{.model = *row.shape,
                            .hardware = row.hardware,
                            .tensor_parallel = row.devices,
                            .storage = storage_cost<presets::Vllm>(*row.shape),
                            .host = host_overhead::none};
    const MemoryPlan plan = plan_memory(inputs, {.kv_bytes = row.kv_gib << 30});
    // The paper's slots are tokens that fit, before they are cut into blocks.
    const double token_bytes = inputs.storage.kv_token_bytes;
    return Row()
        .set("kv_bytes", row.kv_gib << 30)
        .set("token_bytes", static_cast<std::int64_t>(token_bytes))
        .set("slots",
             static_cast<std::int64_t>(static_cast<double>(row.kv_gib << 30) / token_bytes))
        .set("block_size", plan.block_tokens.value)
        .set("blocks", plan.device_blocks.value);
  };
  return cell;
}

struct Window {
  Seconds from, to;
};

/// Runs one system for as long as the window and gives everything that the figures show.
template <class System>
Row observe_memory(const executor::Simulated::Options& setup, const workload::Workload& requests,
                   Window window) {
  Engine<System, executor::Simulated> engine(setup);
  MemoryObserver seen(window.from, window.to);
  replay_until(engine, requests, window.to, [&](const auto& e, const auto& stats) {
    seen(e, stats);
    static_cast<void>(engine.take_finished());
  });
  if (seen.batched.empty()) {
    throw state_error(requests.name, "the requests ended before the window began",
                      "more requests, or an earlier window");
  }
  const EngineCounters& counters = engine.counters();
  Row row;
  row.set("block_size", System::BlockSize::tokens.value)
      .set("scheduler", System::Scheduler::name)
      .set("reservation", System::Reservation::name)
      .set("token_states_percent", seen.token_states.value())
      .set("reserved_percent", seen.reserved.value())
      .set("internal_percent", seen.internal.value())
      .set("external_percent", seen.rounding.value() + seen.free.value())
      .set("rounding_percent", seen.rounding.value())
      .set("mean_batched_requests", seen.batched.value())
      .set("steps", counters.steps)
      .set("preemptions", counters.preemptions)
      .set("rejected", counters.rejected);
  if (!seen.sharing.empty()) row.set("saving_percent", 100 * (1 - 1 / seen.sharing.value()));
  return row;
}

template <class System>
Cell memory_cell(std::string_view part, const workload::Workload& named, SharedWorkload requests,
                 const executor::Simulated::Options& setup, std::uint64_t seed, double rate,
                 Window window) {
  Cell cell{.variant = std::string(System::name), .workload = named.name, .seed = seed};
  cell.trace_sha256 = named.provenance.sha256;
  cell.identity.set("part", part).set("model", setup.model.name).set("request_rate", rate);
  cell.identity.set("window_from_s", window.from.value).set("window_to_s", window.to.value);
  cell.run = [=] { return observe_memory<System>(setup, *requests, window); };
  return cell;
}

void add_systems(std::vector<Cell>& cells, std::string_view part, workload::Workload requests,
                 const executor::Simulated::Options& setup, std::uint64_t seed, double rate,
                 Window window) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(Systems{}, [&]<class System>() {
    cells.push_back(memory_cell<System>(part, *shared, shared, setup, seed, rate, window));
  });
}

std::vector<Cell> make_cells(const Options& options) {
  std::vector<Cell> cells;
  for (const SlotRow& row : {SlotRow{&model::opt_13b, hardware::a100_40gb, 1, 12},
                             SlotRow{&model::opt_66b, hardware::a100_40gb, 4, 21},
                             SlotRow{&model::opt_175b, hardware::a100_80gb, 8, 264}}) {
    cells.push_back(slots_cell(row));
  }
  const executor::Simulated::Options setup = opt_13b_setup();
  const std::uint64_t seeds = options.pick(1, 3, 8);
  // The smoke scale keeps a window after the start and little else.
  const double end = options.pick(120.0, 900.0, 900.0);
  const double hour = options.pick(120.0, 3600.0, 3600.0);  // the paper's traces last one
  const Window steady{end / 3, end}, late{hour / 6, hour};
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    add_systems(cells, "waste", workload::sharegpt(poisson_for(4, end, seed)), setup, seed, 4,
                steady);
    add_systems(cells, "batch", workload::sharegpt(poisson_for(2, hour, seed)), setup, seed, 2,
                late);
    add_systems(cells, "batch", workload::alpaca(poisson_for(30, hour, seed)), setup, seed, 30,
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
          Cell cell =
              memory_cell<presets::Vllm>("sharing", *shared, shared, setup, seed, rate, steady);
          cell.identity.set("decoding", beam ? "beam" : "parallel").set("width", width);
          cells.push_back(std::move(cell));
        }
      }
    }
  }
  if (options.traces.empty()) return cells;
  for (auto& [trace, requests] : open_traces(options.traces)) {
    // As many requests as keep every system's queue full; arrivals all at once.
    const std::size_t count = options.pick<std::size_t>(200, 2000, 8000);
    workload::Workload saturated = workload::with_arrivals(
        workload::first_requests(std::move(requests), count), workload::Saturated{});
    add_systems(cells, "waste", std::move(saturated), long_context_setup(model_for(trace)), 0, 0,
                Window{end / 9, end / 3});
  }
  return cells;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run(
      argc, argv, "kv_memory_waste",
      "Where key-value memory goes under four ways of giving it out, and what sharing saves.\n\n"
      "Examples:\n"
      "  kv_memory_waste --out rows.jsonl\n"
      "  kv_memory_waste --out rows.jsonl --filter waste --scale smoke\n",
      quire::experiment::make_cells);
}
