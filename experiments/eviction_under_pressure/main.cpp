// Hit ratios of every eviction policy under pressure. README.md says what is run and why.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/eviction_under_pressure/axes.hpp>
#include <experiments/eviction_under_pressure/references.hpp>

namespace quire::experiment {
namespace {

/// A reference string, what it says of itself, and Belady's hits on it, found when first needed.
struct Workload {
  std::string name;
  std::string sha256;
  std::uint64_t seed = 0;
  References references;

  struct Bound {
    std::once_flag once;
    std::uint64_t hits = 0;
  };
  std::vector<std::pair<std::int64_t, std::unique_ptr<Bound>>> plain{};  // by capacity

  std::uint64_t belady_hits(std::int64_t blocks) {
    const auto at = std::find_if(plain.begin(), plain.end(),
                                 [blocks](const auto& entry) { return entry.first == blocks; });
    Bound& bound = *at->second;
    std::call_once(bound.once, [&] {
      eviction::Belady policy(BlockCount{blocks});
      bound.hits = eviction::replay(policy, BlockCount{blocks}, references).hits;
    });
    return bound.hits;
  }
};
using SharedWorkload = std::shared_ptr<Workload>;

metrics::JsonObject counted(Workload& w, std::int64_t blocks,
                            const eviction::ReplayCounts& counts) {
  const auto of = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  return metrics::JsonObject()
      .add("hit_ratio", counts.hit_ratio())
      .add("hit_ratio_1e4", static_cast<std::int64_t>(std::llround(counts.hit_ratio() * 1e4)))
      .add("hits", counts.hits)
      .add("references", counts.references)
      .add("evictions", counts.evictions)
      .add("not_admitted", counts.not_admitted)
      .add("distinct", w.references.distinct())
      .add("infinite_hit_ratio", 1 - of(w.references.distinct(), w.references.references().size()))
      .add("of_belady", of(counts.hits, w.belady_hits(blocks)));
}

template <class Policy, class Admission>
Run replay_run(std::string_view part, const SharedWorkload& w, std::int64_t blocks, bool prefix) {
  Run run;
  run.row.variant = std::string(Policy::name);
  if (!Admission::admits_all) run.row.variant += "+admission=" + std::string(Admission::name);
  run.row.workload = w->name;
  run.row.trace_sha256 = w->sha256;
  run.row.seed = w->seed;
  // The policies run as they do in an engine; which block a request asks for is given.
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("eviction", Policy::name).add("admission", Admission::name);
  run.row.axes.add("rule", prefix ? "prefix" : "plain").add("blocks", blocks);
  run.measure = [=] {
    Policy policy{BlockCount{blocks}};
    Admission admission{BlockCount{blocks}};
    return counted(*w, blocks,
                   eviction::replay(policy, admission, BlockCount{blocks}, w->references,
                                    {.prefix_rule = prefix}));
  };
  return run;
}

SharedWorkload share(std::string name, std::uint64_t seed, References references,
                     std::string sha256 = {}) {
  auto w = std::make_shared<Workload>();
  w->name = std::move(name);
  w->sha256 = std::move(sha256);
  w->seed = seed;
  w->references = std::move(references);
  return w;
}

void add_curves(std::vector<Run>& runs, std::string_view part, const SharedWorkload& w,
                std::span<const std::int64_t> sizes, bool prefix) {
  for (const std::int64_t blocks : sizes) {
    const bool known = std::any_of(w->plain.begin(), w->plain.end(),
                                   [blocks](const auto& entry) { return entry.first == blocks; });
    if (!known) w->plain.emplace_back(blocks, std::make_unique<Workload::Bound>());
    for_each_type(Policies{}, [&]<class Policy>() {
      runs.push_back(replay_run<Policy, admission::Always>(part, w, blocks, prefix));
    });
    for_each_type(Admissions{}, [&]<class Admission>() {
      if (Admission::admits_all || part == "breaks") return;
      runs.push_back(replay_run<eviction::Lru, Admission>(part, w, blocks, prefix));
    });
  }
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::uint64_t seeds = options.pick(1, 1, 4);
  const std::int64_t sizes[] = {250, 500, 1000, 2000, 4000, 8000};
  const std::int64_t small[] = {500, 1000, 2000, 3000, 3900, 6000};
  const std::size_t requests = options.pick<std::size_t>(2000, 12000, 40000);
  const std::size_t references = options.pick<std::size_t>(20000, 120000, 400000);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const auto mixed = share("multi_tenant", seed, tenants(requests, seed));
    for (const bool prefix : {false, true}) add_curves(runs, "curve", mixed, sizes, prefix);
    add_curves(runs, "breaks", share("scan", seed, scans(references, seed)), small, false);
    add_curves(runs, "breaks", share("shift", seed, shifts(references, seed)), small, false);
  }
  add_curves(runs, "breaks", share("loop", 0, loop(references)), small, false);
  if (options.traces.empty()) return runs;
  const std::filesystem::path file = options.traces / "mooncake_conversation_trace.jsonl";
  if (!std::filesystem::exists(file)) return runs;
  const auto real = share("mooncake_conversation", 0, mooncake(file),
                          workload::trace::open_trace(file, {}).provenance.sha256);
  const std::int64_t table[] = {1000, 3000, 10000, 30000, 50000};
  const std::int64_t prefix_table[] = {1000, 5000, 10000, 30000, 50000, 100000};
  add_curves(runs, "curve", real, table, false);
  add_curves(runs, "curve", real, prefix_table, true);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "eviction_under_pressure",
      "Hit ratio against cache size for every eviction policy, with Belady on top.\n\n"
      "Examples:\n"
      "  eviction_under_pressure --out rows.jsonl\n"
      "  eviction_under_pressure --out rows.jsonl --traces DIR --filter mooncake\n",
      quire::experiment::make_runs);
}
