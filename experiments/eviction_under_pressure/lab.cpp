// The laboratory of eviction policies: hits beside a clairvoyant choice, what they mean for requests
// that are served, what calls cost, whether outputs stay. README.md says what is run and why.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/views.hpp>
#include <experiments/eviction_under_pressure/outputs.hpp>
#include <experiments/eviction_under_pressure/policy.hpp>
#include <experiments/eviction_under_pressure/references.hpp>
#include <quire/admission/admission.hpp>
#include <quire/core/type_list.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/workload/reshape.hpp>

namespace quire::experiment {
namespace {

using eviction_lab::Policy;

/// What may enter a cache in the order of last use.
using Admissions = type_list<admission::ReuseThreshold, admission::TinyLfu>;

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

SharedWorkload share(std::string name, std::uint64_t seed, References references,
                     std::string sha256 = {}) {
  auto w = std::make_shared<Workload>();
  w->name = std::move(name);
  w->sha256 = std::move(sha256);
  w->seed = seed;
  w->references = std::move(references);
  return w;
}

// ---- hits ---------------------------------------------------------------------------------------

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

using Replay = std::function<eviction::ReplayCounts(BlockCount, const References&,
                                                    const eviction::ReplayOptions&)>;

Run replay_run(std::string_view part, const SharedWorkload& w, std::int64_t blocks, bool prefix,
               std::string_view eviction, std::string_view admission, Replay replay) {
  Run run;
  run.row.variant = std::string(eviction);
  if (admission != admission::Always::name) {
    run.row.variant += "+admission=" + std::string(admission);
  }
  run.row.workload = w->name;
  run.row.trace_sha256 = w->sha256;
  run.row.seed = w->seed;
  // The policies run as they do in an engine; which block a request asks for is given.
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("eviction", eviction).add("admission", admission);
  run.row.axes.add("rule", prefix ? "prefix" : "plain").add("blocks", blocks);
  run.measure = [=] {
    return counted(*w, blocks, replay(BlockCount{blocks}, w->references, {.prefix_rule = prefix}));
  };
  return run;
}

void add_curves(std::vector<Run>& runs, const std::vector<Policy>& policies, std::string_view part,
                const SharedWorkload& w, std::span<const std::int64_t> sizes, bool prefix) {
  for (const std::int64_t blocks : sizes) {
    const bool known = std::any_of(w->plain.begin(), w->plain.end(),
                                   [blocks](const auto& entry) { return entry.first == blocks; });
    if (!known) w->plain.emplace_back(blocks, std::make_unique<Workload::Bound>());
    for (const Policy& p : policies) {
      runs.push_back(
          replay_run(part, w, blocks, prefix, p.name, admission::Always::name, p.replay));
    }
  }
}

/// The order of last use, with something to say about what enters.
void add_admissions(std::vector<Run>& runs, const SharedWorkload& w,
                    std::span<const std::int64_t> sizes, bool prefix) {
  for (const std::int64_t blocks : sizes) {
    for_each_type(Admissions{}, [&]<class Admission>() {
      runs.push_back(replay_run("curve", w, blocks, prefix, eviction::Lru::name, Admission::name,
                                [](BlockCount capacity, const References& references,
                                   const eviction::ReplayOptions& options) {
                                  eviction::Lru order(capacity);
                                  Admission admission(capacity);
                                  return eviction::replay(order, admission, capacity, references,
                                                          options);
                                }));
    });
  }
}

// ---- requests served ------------------------------------------------------------------------------

/// Prefix caching with any policy; the preset, one slot moved.
struct Served : presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm_prefix_cache+chosen";
  using Eviction = eviction_lab::Chosen;
};
using SharedRequests = std::shared_ptr<const workload::Workload>;

/// A reference string's rows as prompts of `piece` tokens a reference, each answered in 64 tokens.
SharedRequests requests_of(const Workload& w, std::size_t most, double rate, Tokens piece) {
  auto out = std::make_shared<workload::Workload>();
  out->name = w.name;
  for (const References::Row& row : w.references.rows()) {
    if (out->requests.size() == most) break;
    Request r;
    r.id = RequestId{out->requests.size()};
    for (std::size_t i = row.begin; i < row.end; ++i) {
      r.chunks.push_back({w.references.name(w.references.references()[i]), piece});
      r.prompt_length += piece;
    }
    r.output_length = 64;
    r.tenant = row.tenant;
    r.priority = row.priority;
    r.turn = row.category;
    out->requests.push_back(std::move(r));
  }
  return std::make_shared<const workload::Workload>(
      workload::with_arrivals(std::move(*out), workload::Poisson{.rate = rate}, w.seed));
}

metrics::JsonObject serve(const Policy& policy, const workload::Workload& requests, Tokens pool,
                          std::int64_t devices) {
  model::Shape shape = model::llama3_8b;
  shape.max_length = 131072;
  executor::Simulated::Options setup = long_context_setup(shape);
  setup.tensor_parallel = devices;
  const StorageCost stored = executor::Simulated::inputs<Served>(setup).storage;
  setup.memory.kv_bytes = static_cast<std::int64_t>(
      stored.kv_block_bytes *
      std::ceil(static_cast<double>(pool.value) / static_cast<double>(stored.block_tokens.value)));
  eviction_lab::Chosen::choose(policy);
  Engine<Served, executor::Simulated> engine(setup);
  std::int64_t evicted = 0;
  ReplayOptions how;
  how.on_step = [&](const StepStats&, Seconds) {
    evicted += std::ssize(engine.last_plan().evicted);
  };
  const Report report = replay(engine, requests, how);
  const metrics::ServingSummary seen = report.summary();
  const PrefixStatistics& prefix = engine.memory().prefix_statistics();
  return metrics::JsonObject()
      .add("mean_ttft_ms", seen.ttft.mean())
      .add("median_ttft_ms", seen.ttft.median())
      .add("p99_ttft_ms", seen.ttft.percentile(99))
      .add("mean_tpot_ms", seen.tpot.mean())
      .add("request_throughput", seen.request_throughput())
      .add("completed", seen.completed)
      .add("token_hit_percent", 100 * prefix.token_hit_ratio())
      .add("evicted_blocks", evicted)
      .add("preemptions", report.counters.preemptions);
}

void add_serving(std::vector<Run>& runs, const std::vector<Policy>& policies,
                 const SharedRequests& requests, const Workload& w,
                 std::span<const std::int64_t> pools, std::int64_t devices) {
  for (const std::int64_t pool : pools) {
    for (const Policy& p : policies) {
      if (p.name == eviction::Belady::name) continue;  // an engine does not know what will be asked
      Run run;
      run.row.variant = std::string(p.name);
      run.row.workload = w.name;
      run.row.trace_sha256 = w.sha256;
      run.row.seed = w.seed;
      run.row.mode = metrics::Mode::simulated;
      run.row.axes.add("part", "serving").add("eviction", p.name).add("pool_tokens", pool);
      run.row.axes.add("requests", requests->requests.size()).add("devices", devices);
      run.measure = [=] { return serve(p, *requests, Tokens{pool}, devices); };
      runs.push_back(std::move(run));
    }
  }
}

// ---- calls and outputs ------------------------------------------------------------------------------

Run measured_run(std::string_view part, const Policy& policy) {
  Run run;
  run.row.variant = std::string(policy.name);
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", part).add("eviction", policy.name);
  return run;
}

void add_costs(std::vector<Run>& runs, const std::vector<Policy>& policies,
               std::span<const std::int64_t> sizes) {
  for (const std::int64_t blocks : sizes) {
    const auto wanted = std::make_shared<std::vector<BlockId>>();
    const ZipfTable zipf(static_cast<std::size_t>(blocks), 0.9);
    Rng rng(3);
    for (int i = 0; i < 1 << 18; ++i) {
      // popularity has nothing to do with where a block lies
      const std::uint64_t scattered = mix64(zipf(rng)) % static_cast<std::uint64_t>(blocks);
      wanted->push_back(BlockId{static_cast<std::uint32_t>(scattered)});
    }
    for (const Policy& p : policies) {
      Run run = measured_run("cost", p);
      run.row.workload = "zipf";
      run.row.axes.add("blocks", blocks);
      run.measure = [p, blocks, wanted] {
        const eviction_lab::Cost cost = p.cost(BlockCount{blocks}, *wanted);
        return metrics::JsonObject().add("hit_ns", cost.hit).add("miss_ns", cost.miss);
      };
      runs.push_back(std::move(run));
    }
  }
}

void add_outputs(std::vector<Run>& runs, const std::vector<Policy>& policies) {
  for (const Policy& p : policies) {
    if (p.name == eviction::Belady::name) continue;
    Run run = measured_run("output", p);
    run.row.workload = "stories";
    run.measure = [p] {
      const eviction_lab::Outputs o = eviction_lab::outputs_under(p);
      return metrics::JsonObject()
          .add("generated_tokens", o.tokens)
          .add("different_tokens", o.different)
          .add("prefix_hit_tokens", o.hit_tokens)
          .add("evicted_blocks", o.evicted_blocks);
    };
    runs.push_back(std::move(run));
  }
}

// ---- what is run --------------------------------------------------------------------------------------

constexpr std::int64_t trace_sizes[] = {1000, 3000, 10000, 30000, 50000};
constexpr std::int64_t trace_prefix_sizes[] = {1000, 5000, 10000, 30000, 50000, 100000};

// Requests a second near what the devices can do without a cache: one for the tenants, eight for
// conversations, whose prompts have 12,000 tokens in the mean.
SharedRequests served_tenants(const Workload& w, const Options& options) {
  return requests_of(w, options.pick<std::size_t>(100, 1500, 6000), 6, 64);
}
constexpr std::int64_t tenant_pools[] = {65536, 131072, 262144};
SharedRequests served_conversation(const Workload& w, const Options& options) {
  return requests_of(w, options.pick<std::size_t>(100, 3000, 12031), 2.5, 512);
}
constexpr std::int64_t conversation_pools[] = {524288, 1572864, 4194304};

/// The Mooncake conversation trace, where it was given; null otherwise.
SharedWorkload conversation(const Options& options) {
  const std::filesystem::path file = options.traces / "mooncake_conversation_trace.jsonl";
  if (options.traces.empty() || !std::filesystem::exists(file)) return nullptr;
  return share("mooncake_conversation", 0, mooncake(file),
               workload::trace::open_trace(file, {}).provenance.sha256);
}

std::vector<Run> make_runs(const Options& options, const std::vector<Policy>& policies) {
  std::vector<Run> runs;
  const std::uint64_t seeds = options.pick<std::uint64_t>(1, 1, 4);
  const std::int64_t sizes[] = {250, 500, 1000, 2000, 4000, 8000};
  const std::int64_t small[] = {500, 1000, 2000, 3000, 3900, 6000};
  const std::size_t requests = options.pick<std::size_t>(2000, 12000, 40000);
  const std::size_t references = options.pick<std::size_t>(20000, 120000, 400000);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const auto mixed = share("multi_tenant", seed, tenants(requests, seed));
    for (const bool prefix : {false, true}) {
      add_curves(runs, policies, "curve", mixed, sizes, prefix);
      add_admissions(runs, mixed, sizes, prefix);
    }
    add_curves(runs, policies, "breaks", share("scan", seed, scans(references, seed)), small,
               false);
    add_curves(runs, policies, "breaks", share("shift", seed, shifts(references, seed)), small,
               false);
    add_serving(runs, policies, served_tenants(*mixed, options), *mixed, tenant_pools, 1);
  }
  add_curves(runs, policies, "breaks", share("loop", 0, loop(references)), small, false);
  if (const SharedWorkload real = conversation(options)) {
    add_curves(runs, policies, "curve", real, trace_sizes, false);
    add_admissions(runs, real, trace_sizes, false);
    add_curves(runs, policies, "curve", real, trace_prefix_sizes, true);
    add_admissions(runs, real, trace_prefix_sizes, true);
    add_serving(runs, policies, served_conversation(*real, options), *real, conversation_pools, 8);
  }
  return runs;
}

std::vector<Run> make_study(const Options& options, const std::vector<Policy>& policies) {
  std::vector<Run> runs;
  const std::int64_t sizes[] = {500, 1000, 2000, 4000};
  const std::int64_t broken[] = {3000};
  const std::size_t requests = options.pick<std::size_t>(2000, 12000, 40000);
  const std::size_t references = options.pick<std::size_t>(20000, 120000, 400000);
  if (const SharedWorkload real = conversation(options)) {
    add_curves(runs, policies, "curve", real, trace_sizes, false);
    add_curves(runs, policies, "curve", real, trace_prefix_sizes, true);
    add_serving(runs, policies, served_conversation(*real, options), *real, conversation_pools, 8);
  }
  const auto mixed = share("multi_tenant", 0, tenants(requests, 0));
  for (const bool prefix : {false, true}) add_curves(runs, policies, "curve", mixed, sizes, prefix);
  add_curves(runs, policies, "breaks", share("scan", 0, scans(references, 0)), broken, false);
  add_curves(runs, policies, "breaks", share("loop", 0, loop(references)), broken, false);
  add_curves(runs, policies, "breaks", share("shift", 0, shifts(references, 0)), broken, false);
  add_serving(runs, policies, served_tenants(*mixed, options), *mixed, tenant_pools, 1);
  const std::int64_t cost_sizes[] = {10000, options.pick<std::int64_t>(20000, 1000000, 10000000)};
  add_costs(runs, policies, cost_sizes);
  add_outputs(runs, policies);
  return runs;
}

// ---- tables for people --------------------------------------------------------------------------------

using Where = std::vector<std::pair<std::string_view, std::string_view>>;

View hits(std::string_view title, std::string_view workload, std::string_view rule,
          std::string_view metric = "hit_ratio") {
  return {title, {{"workload", workload}, {"rule", rule}}, "blocks", metric};
}

void print_study(const std::vector<Run>& runs) {
  const Where cost{{"part", "cost"}};
  const auto served = [](std::string_view title, std::string_view workload,
                         std::string_view metric) {
    return View{title, {{"part", "serving"}, {"workload", workload}}, "pool_tokens", metric};
  };
  const View views[] = {
      hits("Hit ratio on the Mooncake conversation trace, by blocks", "mooncake_conversation",
           "plain"),
      hits("The same under the prefix rule", "mooncake_conversation", "prefix"),
      hits("Hit ratio on the generated multi-tenant string, by blocks", "multi_tenant", "plain"),
      hits("Its hits over those of Belady's choice", "multi_tenant", "plain", "of_belady"),
      hits("Its hit ratio under the prefix rule", "multi_tenant", "prefix"),
      hits("Hit ratio with scans", "scan", "plain"),
      hits("Hit ratio in a loop over 4,000 blocks", "loop", "plain"),
      hits("Hit ratio when the hot set moves", "shift", "plain"),
      served("Conversation trace served: mean time to first token, ms, simulated, by tokens in the "
             "pool",
             "mooncake_conversation", "mean_ttft_ms"),
      served("Prompt tokens found, percent", "mooncake_conversation", "token_hit_percent"),
      served("Multi-tenant string served: mean time to first token, ms, simulated, by tokens in "
             "the pool",
             "multi_tenant", "mean_ttft_ms"),
      served("99th percentile of it", "multi_tenant", "p99_ttft_ms"),
      served("Prompt tokens found, percent", "multi_tenant", "token_hit_percent"),
      {"A hit, ns, measured, by blocks", cost, "blocks", "hit_ns"},
      {"A miss (victim, removal, insertion), ns, measured", cost, "blocks", "miss_ns"},
      {"Generated tokens that differ from those without a prefix index (none may)",
       {{"part", "output"}},
       "workload",
       "different_tokens"}};
  print_views(std::cout, runs, views);
  std::cout << "A block goes only after those that continue it. Where each request ends in a block "
               "of its own, the\n"
               "oldest such end is also the one used longest ago: fifo, lru and policies of one "
               "place for all new\n"
               "blocks then decide alike under the prefix rule, and plain replays alone tell them "
               "apart.\n";
}

}  // namespace
}  // namespace quire::experiment

namespace quire::eviction_lab {

int run(int argc, char** argv, const std::vector<Policy>& policies) {
  return experiment::run_experiment(
      argc, argv, "eviction_under_pressure",
      "Hit ratio against cache size for every eviction policy, with Belady on top, and what it "
      "does\n"
      "to requests that are served.\n\n"
      "Examples:\n"
      "  eviction_under_pressure --out rows.jsonl\n"
      "  eviction_under_pressure --out rows.jsonl --traces DIR --filter mooncake\n",
      [&](const experiment::Options& o) { return experiment::make_runs(o, policies); });
}

int study(int argc, char** argv, const Policy& mine) {
  constexpr std::string_view beside[] = {"fifo", "lru", "lfu", "arc", "s3_fifo", "sieve", "belady"};
  std::vector<Policy> policies{mine};
  for (const Policy& p : house_policies()) {
    if (std::find(std::begin(beside), std::end(beside), p.name) != std::end(beside)) {
      policies.push_back(p);
    }
  }
  return experiment::run_experiment(
      argc, argv, "eviction_study",
      "One eviction policy beside known ones: hit ratios and Belady's bound, time to first token,\n"
      "the cost of a call, and whether generated tokens stay what they were.\n",
      [&](const experiment::Options& o) { return experiment::make_study(o, policies); },
      experiment::print_study);
}

}  // namespace quire::eviction_lab
