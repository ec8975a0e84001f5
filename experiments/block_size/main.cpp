// Section 7.2 and Figure 18(b) of Kwon et al., SOSP '23. README.md says what is run and why.
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <experiments/block_size/axes.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/observe.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>

namespace quire::experiment {
namespace {

using SharedWorkload = std::shared_ptr<const workload::Workload>;

/// How full the blocks of all requests are when each ends.
Row utilisation(const workload::Workload& requests, Tokens block) {
  std::int64_t used = 0, given = 0;
  for (const Request& r : requests.requests) {
    const Tokens tokens = r.prompt_length + r.output_length.value_or(0);
    used += tokens.value;
    given += blocks_for(tokens, block).value * block.value;
  }
  return Row()
      .set("utilisation_percent", 100.0 * static_cast<double>(used) / static_cast<double>(given))
      .set("requests", requests.requests.size());
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

template <class Config>
Row latency(const workload::Workload& requests, Seconds warm_up) {
  executor::Simulated::Options setup = opt_13b_setup();
  setup.hardware.attention_bandwidth_share =
      attention_share(setup.hardware, setup.model.head_dim, Config::BlockSize::tokens.value);
  Engine<Config, executor::Simulated> engine(setup);
  LatencyObserver seen{.from = warm_up};
  replay_until(engine, requests, Seconds{1e9},
               [&](const auto&, const auto&) { seen.collect(engine); });
  seen.collect(engine);
  const double sum = std::accumulate(seen.normalized.begin(), seen.normalized.end(), 0.0);
  return Row()
      .set("mean_normalized_latency_s", sum / static_cast<double>(seen.normalized.size()))
      .set("attention_bandwidth_share", setup.hardware.attention_bandwidth_share)
      .set("completed", seen.normalized.size())
      .set("rejected", seen.rejected)
      .set("preemptions", engine.counters().preemptions)
      .set("duration", engine.now().value);
}

void add_utilisation(std::vector<Cell>& cells, workload::Workload requests, std::uint64_t seed) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(BlockSizes{}, [&]<class Config>() {
    Cell cell{.variant = std::string(Config::name), .workload = shared->name, .seed = seed};
    cell.trace_sha256 = shared->provenance.sha256;
    cell.identity.set("part", "utilisation").set("block_size", Config::BlockSize::tokens.value);
    cell.run = [shared] { return utilisation(*shared, Config::BlockSize::tokens); };
    cells.push_back(std::move(cell));
  });
}

void add_latency(std::vector<Cell>& cells, workload::Workload requests, std::uint64_t seed,
                 double rate, Seconds warm_up) {
  const auto shared = std::make_shared<const workload::Workload>(std::move(requests));
  for_each_type(BlockSizes{}, [&]<class Config>() {
    Cell cell{.variant = std::string(Config::name), .workload = shared->name, .seed = seed};
    cell.identity.set("part", "latency").set("block_size", Config::BlockSize::tokens.value);
    cell.identity.set("model", model::opt_13b.name).set("request_rate", rate);
    cell.identity.set("warm_up_s", warm_up.value);
    cell.run = [shared, warm_up] { return latency<Config>(*shared, warm_up); };
    cells.push_back(std::move(cell));
  });
}

std::vector<Cell> make_cells(const Options& options) {
  std::vector<Cell> cells;
  const std::size_t draws = options.pick<std::size_t>(10'000, 80'000, 80'000);
  add_utilisation(cells, workload::sharegpt({.requests = draws}), 0);
  add_utilisation(cells, workload::alpaca({.requests = draws}), 0);
  const std::uint64_t seeds = options.pick(1, 3, 8);
  const double seconds = options.pick(60.0, 600.0, 600.0);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    add_latency(cells, workload::sharegpt(poisson_for(2.01, seconds, seed)), seed, 2.01,
                seconds / 2);
    add_latency(cells, workload::alpaca(poisson_for(30.1, seconds, seed)), seed, 30.1, seconds / 2);
  }
  if (options.traces.empty()) return cells;
  for (auto& [trace, requests] : open_traces(options.traces))
    add_utilisation(cells, std::move(requests), 0);
  return cells;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run(
      argc, argv, "block_size",
      "How full blocks are, and how fast requests run, by tokens a block.\n\n"
      "Examples:\n"
      "  block_size --out rows.jsonl\n"
      "  block_size --out rows.jsonl --filter utilisation\n",
      quire::experiment::make_cells);
}
