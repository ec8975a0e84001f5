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
#include <experiments/cluster/clusters.hpp>
#include <experiments/cluster/splitwise.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/workloads.hpp>
#include <quire/cost_model/affine.hpp>
#include <quire/engine/cluster.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>

namespace quire::experiment {
namespace {

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

workload::Workload requests_for(const Placement& p, bool distserve_lengths, double rate,
                                std::uint64_t seed, double scale) {
  const auto devices = static_cast<double>(p.devices());
  const auto count = static_cast<std::size_t>(scale * static_cast<double>(p.requests) * devices);
  return distserve_lengths
             ? distserve_sharegpt(count, rate * devices, seed)
             : workload::sharegpt({.requests = count, .rate = rate * devices, .seed = seed});
}

ClusterReport served(const Placement& p, const workload::Workload& w) {
  const model::Shape& shape = p.model_name == "opt_66b" ? model::opt_66b : model::opt_13b;
  Engines engines;
  ClusterOptions o;
  for (const PlacedEngine& e : p.engines) {
    Affine::Options one{.model = shape, .hardware = hardware::a100_80gb};
    one.tensor_parallel = e.weights_on > 0 ? e.weights_on : e.devices;
    one.limits = {.max_batched_tokens = 4096, .max_sequences = 1024};
    one.memory.kv_bytes = static_cast<std::int64_t>(kv_bytes(shape)) * e.kv_tokens;
    one.affine = e.profile;
    engines.push_back(engine<presets::Vllm, Affine>(one));
    if (p.engines.size() > 1) o.roles.push_back(e.role);
  }
  o.link = {.bytes_per_second = nvlink};
  o.kv_bytes_per_token = kv_bytes(shape);
  o.layers = shape.layers;
  if (p.name == "distserve") return play<router::DistServe>(std::move(engines), o, w);
  if (p.name == "splitwise") return play<router::Splitwise>(std::move(engines), o, w);
  return play<router::LeastOutstanding>(std::move(engines), o, w);
}

metrics::Slo limits_of(const Placement& p, double scale = 1) {
  return {.ttft = scale * p.slo_ttft, .tpot = scale * p.slo_tpot};
}

void add_disaggregation(std::vector<Run>& runs, const Options& options) {
  const double size = options.pick(0.2, 1.0, 2.0);
  const auto add = [&](const Placement& p, bool distserve_lengths, double rate, double scale,
                       std::uint64_t seed) {
    const workload::Workload w = requests_for(p, distserve_lengths, rate, seed, size);
    Run run = run_of("distserve", p.name, w, seed,
                     [=] { return metrics_of(served(p, w), limits_of(p, scale)); });
    run.row.axes.add("model", p.model_name).add("devices", p.devices());
    run.row.axes.add("rate_per_gpu", rate).add("slo_scale", scale);
    runs.push_back(std::move(run));
  };
  for (const Placement& p : placements()) {
    const bool small = p.model_name == "opt_13b";
    for (std::uint64_t seed = 0; seed < options.pick(std::uint64_t{1}, p.seeds, 2 * p.seeds);
         ++seed) {
      for (const double rate : p.rates) {
        if (seed < 2) add(p, true, rate, 1, seed);
        if (seed == 0 && small) add(p, false, rate, 1, seed);
      }
      for (const double scale : slo_scales) {
        if (small && !(scale == 1 && seed < 2)) add(p, true, 1.5, scale, seed);
      }
      // goodput by bisection: nine requests in ten within both limits
      Run run = run_of("goodput", p.name, distserve_sharegpt(1, 1, 0), seed, [=] {
        const metrics::RateInterval found = metrics::highest_rate_between(
            [&](double rate) {
              return served(p, requests_for(p, true, rate, seed, size))
                  .summary(limits_of(p))
                  .attainment;
            },
            0.9, p.rates.front() / 4, p.rates.back(), 0.03);
        return metrics::JsonObject()
            .add("highest_rate", found.attains)
            .add("highest_rate_fails_at", found.fails);
      });
      run.row.axes.add("model", p.model_name).add("devices", p.devices());
      runs.push_back(std::move(run));
    }
  }
}

// ---- migration -----------------------------------------------------------------------------------

/// Two classes of requests on Llumnix that knows of them and on one that does not: latencies of each class.
metrics::JsonObject by_class(const ClusterReport& report) {
  metrics::JsonObject out;
  for (const auto& [name, tenant] : {std::pair{"urgent_", 1u}, std::pair{"normal_", 0u}}) {
    std::vector<metrics::RequestRecord> of;
    for (const metrics::RequestRecord& r : report.records) {
      if (r.tenant == TenantId{tenant}) of.push_back(r);
    }
    const metrics::ServingSummary s = metrics::summarize(of, report.duration);
    const std::string word(name);
    out.add(word + "prefill_mean_ms", s.ttft.mean())
        .add(word + "prefill_p99_ms", s.ttft.percentile(99))
        .add(word + "decode_mean_ms", s.tpot.mean())
        .add(word + "e2e_mean_ms", s.e2el.mean())
        .add(word + "e2e_p99_ms", s.e2el.percentile(99))
        .add(word + "requests", s.completed);
  }
  return out.add("moved", report.downtimes.size()).add("preemptions", report.preemptions());
}

template <class C>
ClusterReport on_sixteen(const model::Shape& llama, const Play& play, const workload::Workload& w,
                         Handover handover, BlockCount ideal = 0) {
  Roofline::Options one{.model = llama, .hardware = a10};
  one.limits = {.max_batched_tokens = 12800, .max_sequences = 512};
  one.host = host_overhead::python_2023;
  Engines engines;
  for (std::size_t i = 0; i < llumnix_instances; ++i) engines.push_back(engine<C, Roofline>(one));
  ClusterOptions o;
  o.link = {.bytes_per_second = llumnix_network / 2, .latency = 1e-3};
  o.kv_bytes_per_token = kv_bytes(llama);
  o.layers = llama.layers;
  o.handover = handover;
  if (ideal > BlockCount{0}) {
    o.router.headroom = engines.front()->geometry().device_blocks - ideal;
  }
  return play(std::move(engines), o, w);
}

void add_classes(std::vector<Run>& runs, const model::Shape& llama, const Options& options) {
  const std::size_t requests = options.pick<std::size_t>(400, 5000, 10000);
  for (const double cv : {2.0, 4.0, 6.0, 8.0}) {
    workload::Workload w = workload::synthetic(
        workload::ZipfLength{24, 6144, mean_128}, workload::ZipfLength{24, 6144, mean_128},
        {.requests = requests, .arrivals = workload::Gamma{class_rate, cv}});
    w.name = "power_law_128-128";
    Rng rng(11);
    for (Request& r : w.requests) {
      if (rng.below(10) != 0) continue;
      r.tenant = TenantId{1};
      r.priority = -1;
    }
    for (const bool knows : {false, true}) {
      Run run = run_of("classes", knows ? "llumnix" : "llumnix_one_class", w, 0, [=] {
        const BlockCount ideal = ideal_tokens / 16;
        return by_class(
            knows ? on_sixteen<VllmByClass>(llama, play<router::Llumnix>, w, Handover::live, ideal)
                  : on_sixteen<presets::Vllm>(llama, play<router::Llumnix>, w, Handover::live));
      });
      run.row.axes.add("cv", cv).add("request_rate", class_rate).add("requests", requests);
      runs.push_back(std::move(run));
    }
  }
}

void add_migration(std::vector<Run>& runs, const Options& options) {
  model::Shape llama = model::llama_7b;
  llama.max_length = 6144 * 2 + 1;
  const auto cluster = [llama](const Play& play, const workload::Workload& w, Handover handover) {
    return on_sixteen<presets::Vllm>(llama, play, w, handover);
  };
  add_classes(runs, llama, options);
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
  add_splitwise(runs, options);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "cluster",
      "Several engines behind a router: prompts and generation apart, migration, classes,\n"
      "prefixes, machines of two kinds.\n\n"
      "Examples:\n"
      "  cluster --out rows.jsonl\n"
      "  cluster --out rows.jsonl --filter llumnix --scale smoke\n",
      quire::experiment::make_runs);
}
