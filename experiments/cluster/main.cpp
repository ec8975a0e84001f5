// Several engines behind a router. README.md says what is run and why.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <experiments/cluster/axes.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/workloads.hpp>
#include <quire/cost_model/affine.hpp>
#include <quire/engine/cluster.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>

namespace quire::experiment {
namespace {

using Affine = executor::BasicSimulated<cost_model::Affine>;
using Roofline = executor::Simulated;
using Engines = std::vector<std::unique_ptr<AnyEngine>>;
using Play =
    std::function<ClusterReport(Engines, const ClusterOptions&, const workload::Workload&)>;

template <class R>
ClusterReport play(Engines engines, const ClusterOptions& options, const workload::Workload& w) {
  return Cluster<R>(std::move(engines), options).replay(w);
}
template <class C, class E>
std::unique_ptr<AnyEngine> engine(const typename E::Options& options) {
  return std::make_unique<ErasedEngine<Engine<C, E>>>(options);
}
/// Keys and values of a token, two bytes a number.
double kv_bytes(const model::Shape& m) {
  return 4.0 * static_cast<double>(m.layers * m.kv_heads * m.head_dim);
}
double mean(const std::vector<double>& v) {
  return v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}
double largest(const std::vector<double>& v) {
  return v.empty() ? 0 : *std::max_element(v.begin(), v.end());
}

metrics::JsonObject metrics_of(const ClusterReport& report, const metrics::Slo& slo) {
  const metrics::ServingSummary seen = report.summary(slo);
  metrics::JsonObject out;
  for (const auto& [name, value] : metrics::named_values(seen)) out.add(name, value);
  if (!slo.empty()) {
    out.add("met_percent", 100 * seen.attainment);
    out.add("missed_percent", 100 * (1 - seen.attainment));
  }
  std::int64_t recomputed = 0, prompts = 0, found = 0;
  for (const metrics::RequestRecord& r : report.records) recomputed += r.recomputed.value;
  for (const EngineCounters& c : report.counters) {
    prompts += c.prompt_tokens.value;
    found += c.prefix_hit_tokens.value;
  }
  const auto& sent = report.transfer_seconds;
  const double latency = 1e-3 * seen.e2el.mean() * static_cast<double>(seen.completed);
  const auto [least, most] = std::minmax_element(report.placed.begin(), report.placed.end());
  return out.add("recomputed_tokens", recomputed)
      .add("hit_rate", ratio(Tokens{found}, Tokens{prompts}))
      .add("moved", report.downtimes.size())
      .add("moves_given_up", report.moves_given_up)
      .add("mean_downtime_ms", 1e3 * mean(report.downtimes))
      .add("max_downtime_ms", 1e3 * largest(report.downtimes))
      .add("mean_transfer_ms", 1e3 * mean(sent))
      .add("max_transfer_ms", 1e3 * largest(sent))
      .add("transfer_percent_of_latency",
           100 * mean(sent) * static_cast<double>(sent.size()) / std::max(1e-9, latency))
      .add("held_tokens_peak", report.held_peak.value)
      .add("least_placed", *least)
      .add("most_placed", *most);
}

/// One run by what names it; the caller adds its axes.
Run run_of(std::string_view part, std::string_view router, const workload::Workload& w,
           std::uint64_t seed, std::function<metrics::JsonObject()> measure) {
  Run run;
  run.row.variant = router;
  run.row.workload = w.name;
  run.row.trace_sha256 = w.provenance.sha256;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("router", router);
  run.measure = std::move(measure);
  return run;
}

/// A cluster's run, made when it is first asked for and by whoever asks first; what is compared of it.
class Played {
 public:
  explicit Played(std::function<ClusterReport()> play) : play_(std::move(play)) {}
  [[nodiscard]] metrics::JsonObject row() { return once().row_; }
  /// How many times lower the latencies of `other` are.
  [[nodiscard]] metrics::JsonObject gain_of(Played& other) {
    const Played &before = once(), &after = other.once();
    metrics::JsonObject out;
    for (std::size_t i = 0; i < before.latencies_.size(); ++i) {
      out.add(names[i], before.latencies_[i] / after.latencies_[i]);
    }
    return out.add("preemptions_before", before.preemptions_)
        .add("preemptions_after", after.preemptions_)
        .add("recomputed_before", before.recomputed_)
        .add("recomputed_after", after.recomputed_)
        .add("moved", after.moved_);
  }

 private:
  static constexpr std::array names{"prefill_mean_gain", "prefill_p99_gain", "e2e_mean_gain",
                                    "e2e_p99_gain", "decode_p99_gain"};
  const Played& once() {
    std::call_once(once_, [this] {
      const ClusterReport report = play_();
      const metrics::ServingSummary s = report.summary();
      latencies_ = {s.ttft.mean(), s.ttft.percentile(99), s.e2el.mean(), s.e2el.percentile(99),
                    s.tpot.percentile(99)};
      preemptions_ = report.preemptions();
      for (const metrics::RequestRecord& r : report.records) recomputed_ += r.recomputed.value;
      moved_ = report.downtimes.size();
      row_ = metrics_of(report, {});
    });
    return *this;
  }

  std::function<ClusterReport()> play_;
  std::once_flag once_;
  std::array<double, 5> latencies_{};
  std::int64_t preemptions_ = 0, recomputed_ = 0;
  std::size_t moved_ = 0;
  metrics::JsonObject row_;
};

// ---- prompts and generation apart ----------------------------------------------------------------

/// Pairs of lengths that fit into the model, Poisson arrivals.
workload::Workload distserve_sharegpt(std::size_t requests, double rate, std::uint64_t seed) {
  workload::Workload w = workload::synthetic(workload::FixedLength{1}, workload::FixedLength{1},
                                             {.requests = requests, .rate = rate, .seed = seed});
  w.name = "sharegpt_distserve";
  Rng rng(mix64(seed) ^ 0x64697374u);
  for (Request& r : w.requests) {
    do {
      r.prompt_length = workload::draw_length(distserve_input, rng);
      r.output_length = workload::draw_length(distserve_output, rng);
    } while (r.prompt_length + *r.output_length >= Tokens{2048});
    r.chunks.clear();
  }
  return w;
}

Affine::Options opt_13b_on(const AffineCoefficients& profile, std::int64_t devices) {
  Affine::Options o{.model = model::opt_13b, .hardware = hardware::a100_80gb};
  o.tensor_parallel = devices;
  o.limits = {.max_batched_tokens = 4096, .max_sequences = 1024};
  o.memory.kv_bytes =
      static_cast<std::int64_t>(kv_bytes(model::opt_13b)) * opt_13b_kv_tokens * devices;
  o.affine = profile;
  return o;
}

/// A way to use devices for OPT-13B: one that serves alone, or a prompt instance of two beside a decode
/// instance of one.
struct Placement {
  std::string_view name;
  std::int64_t devices;
  Play play;
  bool split;
};

void add_disaggregation(std::vector<Run>& runs, const Options& options) {
  const Placement placements[] = {{"vllm", 1, play<router::LeastOutstanding>, false},
                                  {"distserve", 3, play<router::DistServe>, true},
                                  {"splitwise", 3, play<router::Splitwise>, true}};
  const auto add = [&](const Placement& p, bool distserve_lengths, double rate, double scale,
                       std::uint64_t seed) {
    const std::size_t requests =
        options.pick<std::size_t>(100, 500, 1000) * static_cast<std::size_t>(p.devices);
    const double all = rate * static_cast<double>(p.devices);
    const workload::Workload w =
        distserve_lengths ? distserve_sharegpt(requests, all, seed)
                          : workload::sharegpt({.requests = requests, .rate = all, .seed = seed});
    const metrics::Slo slo{.ttft = scale * slo_ttft, .tpot = scale * slo_tpot};
    Run run = run_of("distserve", p.name, w, seed, [play = p.play, split = p.split, w, slo] {
      Engines engines;
      ClusterOptions o;
      if (split) {
        engines.push_back(engine<presets::Vllm, Affine>(opt_13b_on(distserve_tp2, 2)));
        engines.push_back(engine<presets::Vllm, Affine>(opt_13b_on(distserve_tp1, 1)));
        o.roles = {Role::prefill, Role::decode};
      } else {
        engines.push_back(engine<presets::Vllm, Affine>(opt_13b_on(vllm_tp1, 1)));
      }
      o.link = {.bytes_per_second = nvlink};
      o.kv_bytes_per_token = kv_bytes(model::opt_13b);
      o.layers = model::opt_13b.layers;
      return metrics_of(play(std::move(engines), o, w), slo);
    });
    run.row.axes.add("model", "opt_13b").add("devices", p.devices);
    run.row.axes.add("rate_per_gpu", rate).add("slo_scale", scale);
    runs.push_back(std::move(run));
  };
  for (std::uint64_t seed = 0; seed < options.pick<std::uint64_t>(1, 6, 12); ++seed) {
    for (const Placement& p : placements) {
      for (const double rate : rates_per_gpu) {
        add(p, true, rate, 1, seed);
        if (seed == 0) add(p, false, rate, 1, seed);
      }
      for (const double scale : slo_scales) {
        if (scale != 1) add(p, true, 1.5, scale, seed);
      }
    }
  }
}

// ---- migration -----------------------------------------------------------------------------------

void add_migration(std::vector<Run>& runs, const Options& options) {
  model::Shape llama = model::llama_7b;
  llama.max_length = 6144 * 2 + 1;
  const auto cluster = [llama](const Play& play, const workload::Workload& w, Handover handover) {
    Roofline::Options one{.model = llama, .hardware = a10};
    one.limits = {.max_batched_tokens = 12800, .max_sequences = 512};
    one.host = host_overhead::python_2023;
    Engines engines;
    for (std::size_t i = 0; i < llumnix_instances; ++i) {
      engines.push_back(engine<presets::Vllm, Roofline>(one));
    }
    ClusterOptions o;
    o.link = {.bytes_per_second = llumnix_network / 2, .latency = 1e-3};
    o.kv_bytes_per_token = kv_bytes(llama);
    o.layers = llama.layers;
    o.handover = handover;
    return play(std::move(engines), o, w);
  };
  const std::size_t requests = options.pick<std::size_t>(400, 4000, 10000);
  for (std::uint64_t seed = 0; seed < options.pick<std::uint64_t>(1, 1, 3); ++seed) {
    for (const PowerLaw& law : power_laws) {
      for (const double rate : law.rates) {
        workload::Workload w = workload::synthetic(
            workload::ZipfLength{24, 6144, law.input}, workload::ZipfLength{24, 6144, law.output},
            {.requests = requests, .rate = rate, .seed = seed});
        w.name = "power_law_" + std::string(law.name);
        std::vector<std::shared_ptr<Played>> played;
        const auto add = [&](Run run) {
          run.row.axes.add("lengths", law.name).add("request_rate", rate).add("requests", requests);
          runs.push_back(std::move(run));
        };
        for_each_type(DispatchRouters{}, [&]<class R>() {
          played.push_back(
              std::make_shared<Played>([=] { return cluster(play<R>, w, Handover::live); }));
          add(run_of("llumnix", R::name, w, seed, [p = played.back()] { return p->row(); }));
        });
        // How many times better migration is than the same dispatch without, and than none.
        add(run_of("gain", router::Infaas::name, w, seed,
                   [a = played[1], b = played[2]] { return a->gain_of(*b); }));
        add(run_of("gain", router::RoundRobin::name, w, seed,
                   [a = played[0], b = played[2]] { return a->gain_of(*b); }));
      }
    }
  }
  // One request that is moved, by how and how long it is. \source Figure 10 of the paper.
  for (const auto& [name, handover] :
       {std::pair{"live", Handover::live}, std::pair{"blocking", Handover::blocking},
        std::pair{"recompute", Handover::recompute}}) {
    for (const std::int64_t length : {256, 512, 1024, 2048, 4096, 8192}) {
      workload::Workload w = workload::synthetic(workload::FixedLength{length},
                                                 workload::FixedLength{400}, {.requests = 1});
      w.name = "one_request";
      Run run = run_of("downtime", name, w, 0, [=, how = handover] {
        return metrics_of(cluster(play<MovesAtOnce>, w, how), {});
      });
      run.row.axes.add("length", length);
      runs.push_back(std::move(run));
    }
  }
}

// ---- prefixes ------------------------------------------------------------------------------------

Engines caching(const model::Shape& shape, std::size_t instances, std::int64_t devices,
                Tokens longest) {
  Roofline::Options one{.model = shape, .hardware = hardware::a100_80gb};
  one.tensor_parallel = devices;
  one.model.max_length = longest;
  one.limits = {.max_batched_tokens = std::max(Tokens{8192}, longest), .max_sequences = 256};
  Engines engines;
  for (std::size_t i = 0; i < instances; ++i) {
    engines.push_back(engine<presets::VllmPrefixCache, Roofline>(one));
  }
  return engines;
}
ClusterOptions caching_options(const Engines& engines, Seconds window) {
  const KvGeometry& g = engines.front()->geometry();
  ClusterOptions o;
  o.router.cache_tokens = g.device_blocks.value * g.block_tokens.value;
  o.router.window = window;
  return o;
}

void add_prefixes(std::vector<Run>& runs, const Options& options) {
  const std::size_t requests = options.pick<std::size_t>(300, 3000, 10000);
  for (std::uint64_t seed = 0; seed < options.pick<std::uint64_t>(1, 2, 3); ++seed) {
    for (const double rate : {8.0, 16.0, 24.0, 32.0, 40.0}) {
      // 400 tools or documents of 2,000 tokens, questions of 150 and answers of 50
      const workload::Workload w = workload::shared_prefix(
          {.prefix = 2000,
           .prefixes = 400,
           .question = workload::LogNormalLength{150, 0.5, 1000},
           .output = workload::LogNormalLength{50, 0.5, 500},
           .generator = {.requests = requests, .rate = rate, .seed = seed}});
      for_each_type(PrefixRouters{}, [&]<class R>() {
        Run run = run_of("prefix", R::name, w, seed, [=] {
          Engines engines = caching(model::llama3_8b, 8, 1, 8192);
          const ClusterOptions o = caching_options(engines, 180.0);
          return metrics_of(play<R>(std::move(engines), o, w), {});
        });
        run.row.axes.add("request_rate", rate).add("requests", requests);
        runs.push_back(std::move(run));
      });
    }
  }
  if (options.traces.empty()) return;
  // Mooncake's conversations on 16 instances of Llama-70B, eight devices each.
  const auto path = options.traces / "mooncake_conversation_trace.jsonl";
  if (!std::filesystem::exists(path)) return;
  workload::Workload w = workload::trace::open_trace(path, {.jitter = 3.0});
  w.name = "mooncake_conversation";
  w = workload::first_requests(w, options.pick<std::size_t>(500, 4000, 20000));
  for_each_type(PrefixRouters{}, [&]<class R>() {
    Run run = run_of("mooncake", R::name, w, 0, [=] {
      Engines engines = caching(model::llama3_1_70b, 16, 8, 131072);
      const ClusterOptions o = caching_options(engines, 180.0);
      return metrics_of(play<R>(std::move(engines), o, w), {});
    });
    runs.push_back(std::move(run));
  });
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  add_disaggregation(runs, options);
  add_migration(runs, options);
  add_prefixes(runs, options);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "cluster",
      "Several engines behind a router: prompts and generation apart, migration, prefixes.\n\n"
      "Examples:\n"
      "  cluster --out rows.jsonl\n"
      "  cluster --out rows.jsonl --filter llumnix --scale smoke\n",
      quire::experiment::make_runs);
}
