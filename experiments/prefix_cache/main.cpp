// What prefix reuse gains against how much of each prompt is shared. README.md says what is run and
// why.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/prefix_cache/axes.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/workload/lengths.hpp>
#include <quire/workload/shared_prefix.hpp>

namespace quire::experiment {
namespace {

using SharedWorkload = std::shared_ptr<const workload::Workload>;

constexpr std::int64_t prompt_tokens = 2048;
constexpr std::int64_t output_tokens = 64;

struct Point {
  std::string_view part;
  double share;          // of a prompt's tokens that others begin with as well
  std::size_t prefixes;  // different beginnings
  double rate;           // requests/s; infinity: all wait from the start
  std::int64_t kv_gib;
};

SharedWorkload prompts(const Point& point, std::size_t requests, std::uint64_t seed) {
  // the shared part does not end with a block: its last tokens are what an index by tokens adds
  const std::int64_t shared = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(point.share * static_cast<double>(prompt_tokens)) + 9, 1,
      prompt_tokens - 1);
  return std::make_shared<const workload::Workload>(workload::shared_prefix(
      {.prefix = point.share == 0 ? 1 : shared,
       .prefixes = point.prefixes,
       .question = workload::FixedLength{prompt_tokens - (point.share == 0 ? 1 : shared)},
       .output = workload::FixedLength{output_tokens},
       .generator = {.requests = requests, .rate = point.rate, .seed = seed}}));
}

/// Prompt tokens that a pool which forgets nothing would find at first admission, one prompt after
/// another: the shared part of all but the first prompt with each beginning.
double findable_tokens(const workload::Workload& requests) {
  std::set<std::uint64_t> begun;
  Tokens tokens = 0;
  for (const Request& r : requests.requests) {
    if (!begun.insert(r.chunks.front().content).second) tokens += r.chunks.front().tokens;
  }
  return static_cast<double>(tokens.value);
}

template <class System>
metrics::JsonObject serve(const workload::Workload& requests, std::int64_t kv_gib) {
  executor::Simulated::Options setup = long_context_setup(model::llama3_8b);
  setup.memory.kv_bytes = kv_gib << 30;
  Engine<System, executor::Simulated> engine(setup);
  const Report report = replay(engine, requests);
  const metrics::ServingSummary seen = report.summary();
  const PrefixStatistics& prefix = engine.memory().prefix_statistics();
  return metrics::JsonObject()
      .add("prefix_index", System::PrefixIndex::name)
      .add("scheduler", System::Scheduler::name)
      .add("mean_ttft_ms", seen.ttft.mean())
      .add("median_ttft_ms", seen.ttft.median())
      .add("p99_ttft_ms", seen.ttft.percentile(99))
      .add("mean_tpot_ms", seen.tpot.mean())
      .add("request_throughput", seen.request_throughput())
      .add("output_throughput", seen.output_throughput())
      .add("completed", seen.completed)
      .add("token_hit_percent", 100 * prefix.token_hit_ratio())
      .add("block_hit_percent", 100 * prefix.block_hit_ratio())
      .add("of_findable_percent", 100 *
                                      static_cast<double>(report.counters.prefix_hit_tokens.value) /
                                      findable_tokens(requests))
      .add("tokens_from_parts", prefix.found_in_parts.value)
      .add("evicted_blocks", prefix.evicted_blocks.value)
      .add("preemptions", report.counters.preemptions)
      .add("steps", report.counters.steps);
}

template <class System>
Run serving_run(const Point& point, const SharedWorkload& requests, std::uint64_t seed) {
  Run run;
  run.row.variant = System::name;
  run.row.workload = requests->name;
  run.row.trace_sha256 = requests->provenance.sha256;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", point.part).add("share", point.share).add("prefixes", point.prefixes);
  run.row.axes.add(
      "arrival", point.rate == std::numeric_limits<double>::infinity() ? "all at once" : "poisson");
  run.row.axes.add("requests", requests->requests.size()).add("kv_gib", point.kv_gib);
  run.measure = [=] { return serve<System>(*requests, point.kv_gib); };
  return run;
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::uint64_t seeds = options.pick<std::uint64_t>(1, 2, 5);
  const std::size_t requests = options.pick<std::size_t>(60, 300, 1000);
  constexpr double at_once = std::numeric_limits<double>::infinity();
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    std::vector<Point> points;
    for (const double share : {0.0, 0.125, 0.25, 0.5, 0.75, 0.9}) {
      points.push_back({"latency", share, 8, 4.0, 40});
      points.push_back({"throughput", share, 8, at_once, 40});
    }
    // More beginnings than the pool can keep: the order of requests decides what is found.
    for (const std::size_t prefixes : {8u, 32u, 64u, 128u}) {
      points.push_back({"order", 0.75, prefixes, at_once, 4});
    }
    for (const Point& point : points) {
      const SharedWorkload workload = prompts(point, requests, seed);
      for_each_type(Systems{}, [&]<class System>() {
        runs.push_back(serving_run<System>(point, workload, seed));
      });
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "prefix_cache",
      "First-token time and throughput against the share of a prompt that others begin with.\n\n"
      "Examples:\n"
      "  prefix_cache --out rows.jsonl\n"
      "  prefix_cache --out rows.jsonl --filter throughput --scale smoke\n",
      quire::experiment::make_runs);
}
