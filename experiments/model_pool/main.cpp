// Several models and too little memory for all: which to keep, and what a request waits for the others.
// README.md says what is run and why.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/model_pool/axes.hpp>
#include <experiments/model_pool/files.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/model_pool/images.hpp>
#include <quire/model_pool/pool.hpp>
#include <quire/model_pool/simulated.hpp>

namespace quire::experiment {
namespace {

using model_pool::ModelPool;
using model_pool::Simulated;

/// Requests for models, one after the other, and the models' sizes.
struct Trace {
  std::vector<Bytes> sizes;
  std::vector<std::size_t> asked;
  std::vector<std::size_t> popular;  // models, the most popular at the beginning first

  [[nodiscard]] Bytes all() const { return std::accumulate(sizes.begin(), sizes.end(), Bytes{0}); }
  /// When each request's model is asked for again, on the count of requests.
  [[nodiscard]] std::vector<std::optional<std::uint64_t>> next_uses() const {
    std::vector<std::optional<std::uint64_t>> out(asked.size());
    std::map<std::size_t, std::uint64_t> next;
    for (std::size_t i = asked.size(); i-- > 0;) {
      if (const auto at = next.find(asked[i]); at != next.end()) out[i] = at->second;
      next[asked[i]] = i;
    }
    return out;
  }
};

/// Models of 1 to 70 billion weights in 16, 8 or 4 bits, popularity after Zipf.
Trace trace_of(Asked kind, std::size_t models, std::size_t requests, std::uint64_t seed) {
  Rng rng(seed);
  Trace out;
  constexpr double billions[] = {1, 3, 7, 8, 13, 32, 70}, bytes_each[] = {2, 1, 0.5625};
  out.sizes.reserve(models);
  for (std::size_t i = 0; i < models; ++i) {
    const double weights = billions[rng.below(std::size(billions))];
    const double bytes = 1e9 * weights * bytes_each[rng.below(std::size(bytes_each))];
    out.sizes.push_back(static_cast<std::int64_t>(bytes));
  }
  out.popular.resize(models);
  std::iota(out.popular.begin(), out.popular.end(), std::size_t{0});
  for (std::size_t i = models; i > 1; --i) std::swap(out.popular[i - 1], out.popular[rng.below(i)]);
  std::vector<double> upto(models);
  double sum = 0;
  for (std::size_t i = 0; i < models; ++i) upto[i] = sum += 1 / static_cast<double>(i + 1);
  const std::size_t shift = kind == Asked::shifting ? requests / models : requests;
  out.asked.reserve(requests);
  for (std::size_t i = 0; i < requests; ++i) {
    const double at = rng.uniform() * sum;
    const auto rank =
        static_cast<std::size_t>(std::lower_bound(upto.begin(), upto.end(), at) - upto.begin());
    // each shift moves all ranks on by one model
    out.asked.push_back(out.popular[(std::min(rank, models - 1) + i / shift) % models]);
  }
  return out;
}

template <class Eviction>
metrics::JsonObject serve(const Trace& trace, double share, Preload preload) {
  const Bytes largest = *std::max_element(trace.sizes.begin(), trace.sizes.end());
  const Bytes memory = std::max(
      largest, Bytes(static_cast<std::int64_t>(share * static_cast<double>(trace.all().value))));
  ModelPool<Eviction, Simulated> pool(memory, Simulated(trace.sizes, {}));
  std::uint64_t uses = 0;  // of the policy's: a preloaded model is inserted
  if (preload != Preload::none) {
    for (const std::size_t model : trace.popular) {
      const Bytes room = preload == Preload::pinned ? memory / 2 : memory;
      // what is kept for good must leave room for any other
      if (preload == Preload::pinned && memory - pool.used() - trace.sizes[model] < largest)
        continue;
      if (pool.used() + trace.sizes[model] > room) continue;
      uses += pool.preload(model, preload == Preload::pinned) ? 1 : 0;
    }
  }
  const Seconds before = pool.counts().waited;
  const auto next = trace.next_uses();
  std::vector<double> waits;
  waits.reserve(trace.asked.size());
  for (std::size_t i = 0; i < trace.asked.size(); ++i) {
    const auto after = next[i] ? std::optional(*next[i] + uses) : std::nullopt;
    waits.push_back(pool.acquire(trace.asked[i], after).waited.value);
    pool.release(trace.asked[i]);
  }
  const auto& c = pool.counts();
  std::vector<double> sorted = waits;
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(c.requests);
  const auto at = [&](double p) {
    return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(p * n))];
  };
  return metrics::JsonObject()
      .add("hit_percent", 100 * static_cast<double>(c.hits) / n)
      .add("byte_hit_percent", 100 * ratio(c.hit, c.requested))
      .add("mean_start_s", (c.waited - before).value / n)
      .add("median_start_s", at(0.5))
      .add("p99_start_s", at(0.99))
      .add("started_gb", 1e-9 * static_cast<double>(c.started.value))
      .add("preloaded", uses)
      .add("memory_gb", 1e-9 * static_cast<double>(memory.value))
      .add("requests", c.requests);
}

/// The same pool over images on this machine's disk, read past its cache; and over what they are said to take,
/// fitted to one start of each.
template <class Eviction>
metrics::JsonObject serve_files(const std::vector<std::string>& paths, std::size_t requests) {
  using model_pool::Images;
  const Images files(paths, checkpoint::file_loader_named("direct"));
  Trace trace = trace_of(Asked::steady, paths.size(), requests, 1);
  // least squares of seconds against bytes, the better of two starts each
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < files.count(); ++i) {
    trace.sizes[i] = files.bytes(i);
    const auto bytes = static_cast<double>(files.bytes(i).value);
    const double seconds = std::min(files.start(i).seconds, files.start(i).seconds).value;
    n += 1, x += bytes, y += seconds, xx += bytes * bytes, xy += bytes * seconds;
  }
  const double slope = (n * xy - x * y) / (n * xx - x * x);
  const model_pool::StartRates rates{.bytes_per_second = 1 / slope,
                                     .setup = std::max(0.0, (y - slope * x) / n)};
  const Bytes memory = trace.all() / 2;
  ModelPool<Eviction, Images> real(memory,
                                   Images(paths, checkpoint::file_loader_named("direct"), rates));
  ModelPool<Eviction, Simulated> simulated(memory, Simulated(trace.sizes, rates));
  std::uint64_t alike = 0;
  for (const std::size_t model : trace.asked) {
    alike += real.acquire(model).hit == simulated.acquire(model).hit ? 1 : 0;
    real.release(model);
    simulated.release(model);
  }
  const auto& c = real.counts();
  const auto asked = static_cast<double>(c.requests);
  return metrics::JsonObject()
      .add("hit_percent", 100 * static_cast<double>(c.hits) / asked)
      .add("mean_start_s", c.waited.value / asked)
      .add("simulated_mean_start_s", simulated.counts().waited.value / asked)
      .add("simulated_over_measured", ratio(simulated.counts().waited, c.waited))
      .add("same_decisions_percent", 100 * static_cast<double>(alike) / asked)
      .add("gb_s", 1e-9 * rates.bytes_per_second)
      .add("setup_ms", 1e3 * rates.setup.value)
      .add("memory_gb", 1e-9 * static_cast<double>(memory.value))
      .add("requests", c.requests);
}
/// Written when they are first asked for; a run that measures with them runs alone.
struct FilesInTurn {
  std::shared_mutex turn;
  std::optional<ImageFiles> images;
};
template <class Eviction>
void add_files(std::vector<Run>& runs, const Options& options,
               const std::shared_ptr<FilesInTurn>& files) {
  const std::size_t models = 10, requests = options.pick<std::size_t>(60, 400, 2000);
  Run run;
  run.row.variant = "model_pool";
  run.row.workload = "zipf";
  run.row.seed = 1;
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", "files").add("asked", to_string(Asked::steady));
  run.row.axes.add("eviction", Eviction::name).add("memory_share", 0.5).add("models", models);
  run.measure = [requests, models, files, small = options.scale == Scale::smoke] {
    const std::unique_lock alone(files->turn);
    if (!files->images) files->images.emplace(models, small);
    return serve_files<Eviction>(files->images->paths(), requests);
  };
  runs.push_back(std::move(run));
}

std::vector<Run> make_runs(const Options& options) {
  const std::size_t models = options.pick<std::size_t>(16, 64, 64);
  const std::size_t requests = options.pick<std::size_t>(500, 20'000, 100'000);
  const std::uint64_t seeds = options.pick<std::uint64_t>(1, 5, 10);
  std::vector<Run> runs;
  const auto files = std::make_shared<FilesInTurn>();
  add_files<eviction::Lru>(runs, options, files);
  add_files<eviction::Lfu>(runs, options, files);
  add_files<eviction::Gdsf>(runs, options, files);
  for (const Asked kind : {Asked::steady, Asked::shifting}) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      const auto trace = std::make_shared<const Trace>(trace_of(kind, models, requests, seed));
      const auto add = [&]<class Eviction>(double share, Preload preload) {
        Run run;
        run.row.variant = "model_pool";
        run.row.workload = "zipf";
        run.row.seed = seed;
        run.row.mode = metrics::Mode::simulated;
        run.row.axes.add("part", preload == Preload::none ? "policy" : "preload");
        run.row.axes.add("asked", to_string(kind)).add("eviction", Eviction::name);
        run.row.axes.add("memory_share", share).add("preload", to_string(preload));
        run.row.axes.add("models", models);
        run.measure = [trace, share, preload, files] {
          const std::shared_lock beside(files->turn);
          return serve<Eviction>(*trace, share, preload);
        };
        runs.push_back(std::move(run));
      };
      for (const double share : memory_shares) {
        for_each_type(PoolPolicies{}, [&]<class Eviction>() {
          add.template operator()<Eviction>(share, Preload::none);
        });
        for (const Preload preload : {Preload::popular, Preload::pinned}) {
          add.template operator()<eviction::Lru>(share, preload);
        }
      }
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  using namespace quire::experiment;
  return run_experiment(argc, argv, "model_pool",
                        "Several models and too little memory for all: which to keep.\n\n"
                        "Examples:\n"
                        "  model_pool --out rows.jsonl\n"
                        "  model_pool --out rows.jsonl --filter lru\n",
                        make_runs);
}
