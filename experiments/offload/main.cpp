// Figure 19 of Kwon et al., SOSP '23, and what tiers below the device are good for. README.md says what
// is run and why.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include <experiments/common/checkpoints.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/workloads.hpp>
#include <experiments/offload/axes.hpp>
#include <experiments/offload/sessions.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <quire/cost_model/transfers.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>

namespace quire::experiment {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class Config>
Run named(std::string_view part, metrics::Mode mode, std::uint64_t seed = 0) {
  Run run;
  run.row.variant = Config::name;
  run.row.mode = mode;
  run.row.seed = seed;
  run.row.axes.add("part", part);
  return run;
}

template <class F>
void for_each_block_size(F&& f) {
  [&]<std::int64_t... N>(std::integer_sequence<std::int64_t, N...>) {
    (f.template operator()<(std::int64_t{1} << N)>(), ...);
  }
  (std::make_integer_sequence<std::int64_t, 9>{});
}

// ---- Figure 19(a): 256 tokens, computed again or moved ---------------------------------------------

constexpr std::int64_t moved_tokens = 256;

metrics::JsonObject times(double recompute, double out, double in) {
  return metrics::JsonObject()
      .add("recompute_ms", 1e3 * recompute)
      .add("swap_out_ms", 1e3 * out)
      .add("swap_in_ms", 1e3 * in)
      .add("swap_ms", 1e3 * (out + in))
      .add("recompute_over_swap", recompute / (out + in));
}

template <class Config>
metrics::JsonObject simulated_times(const executor::Simulated::Options& setup) {
  CostInputs in = executor::Simulated::inputs<Config>(setup);
  in.host = host_overhead::none;
  const cost_model::Roofline model(in);
  SamplingParams greedy;
  StepPlan compute, moves;
  SequencePlan row;
  row.tokens = row.prompt_tokens = moved_tokens;
  row.sampling = &greedy;
  row.draws = 1;
  compute.sequences.push_back(row);
  compute.batched_tokens = moved_tokens;
  moves.swap_in.resize(static_cast<std::size_t>(moved_tokens / Config::BlockSize::tokens.value));
  const double one_way = model.cost(moves).seconds.value;
  return times(model.cost(compute).seconds.value, one_way, one_way);
}

checkpoint::Checkpoint story_model() {
  return opened_checkpoint(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "experiments/small_models/checkpoints/stories")
          .string());
}

/// The link of an A100 as seen by a slower machine: what moving 256 tokens takes beside computing
/// them is the same here as there.
template <class Config>
executor::EmulatedLink scaled_link(double recompute, std::size_t block_bytes) {
  const executor::Simulated::Options there = opt_13b_setup();
  CostInputs in = executor::Simulated::inputs<Config>(there);
  in.host = host_overhead::none;
  SamplingParams greedy;
  StepPlan compute;
  SequencePlan row;
  row.tokens = row.prompt_tokens = moved_tokens;
  row.sampling = &greedy;
  row.draws = 1;
  compute.sequences.push_back(row);
  compute.batched_tokens = moved_tokens;
  const double slower = recompute / cost_model::Roofline(in).cost(compute).seconds.value;
  const double block_seconds = in.storage.kv_block_bytes / in.hardware.link_bandwidth * slower;
  return {.bytes_per_second = static_cast<double>(block_bytes) / block_seconds,
          .latency = 2 * static_cast<double>(in.model.layers) * in.hardware.copy_latency * slower};
}

struct Measured {
  double recompute = 0, out = 0, in = 0;  // seconds
  executor::EmulatedLink link;
};

/// Computes and moves 256 tokens on this machine, the best of several tries each.
template <class Config>
Measured measure_here(bool emulate, int tries) {
  executor::Cpu::Options options{.model = story_model(), .threads = 1};
  const std::int64_t blocks = moved_tokens / Config::BlockSize::tokens.value;
  options.device_blocks = options.host_blocks = blocks;
  const KvGeometry geometry = executor::Cpu::geometry<Config>(options);
  SamplingParams greedy;
  greedy.temperature = 0;
  std::vector<TokenId> text(static_cast<std::size_t>(moved_tokens), TokenId{7});
  std::vector<BlockTable> tables(1);
  StepPlan compute, out, in;
  StepResult result;
  for (std::uint32_t b = 0; b < blocks; ++b) {
    tables[0].append(BlockId{b});
    out.swap_out.push_back({BlockId{b}, BlockId{b}});
    in.swap_in.push_back({BlockId{b}, BlockId{b}});
  }
  SequencePlan row;
  row.tokens = row.prompt_tokens = moved_tokens;
  row.history = text;
  row.tables = tables;
  row.sampling = &greedy;
  row.draws = 1;
  compute.sequences.push_back(row);
  compute.batched_tokens = moved_tokens;
  const auto best = [&](auto& bound, const StepPlan& plan) {
    double seconds = 1e9;
    for (int i = 0; i < tries; ++i) {
      const auto start = Clock::now();
      bound.execute(plan, result);
      seconds = std::min(seconds, since(start));
    }
    return seconds;
  };
  Measured m;
  std::size_t block_bytes = 0;
  {
    typename executor::Cpu::Bound<Config> bound(options, geometry);
    m.recompute = best(bound, compute);
    block_bytes = bound.tiers().host().block_bytes();
  }
  if (emulate) options.link = m.link = scaled_link<Config>(m.recompute, block_bytes);
  typename executor::Cpu::Bound<Config> bound(options, geometry);
  (void)best(bound, compute);
  m.out = best(bound, out);
  m.in = best(bound, in);
  return m;
}

void add_figure_19a(std::vector<Run>& runs, int tries) {
  for_each_block_size([&]<std::int64_t N>() {
    using Paper = Preempting<presets::Vllm, N, offload::SwapToHost>;
    for (const Hardware& hardware : {hardware::a100_40gb, hardware::h200}) {
      Run run = named<Paper>("move", metrics::Mode::simulated);
      run.row.axes.add("block_size", N).add("machine", hardware.name).add("model", "opt_13b");
      run.measure = [hardware] {
        executor::Simulated::Options setup = opt_13b_setup();
        setup.hardware = hardware;
        return simulated_times<Paper>(setup);
      };
      runs.push_back(std::move(run));
    }
    using Here = Preempting<OnCpu, N, offload::SwapToHost>;
    for (const bool emulate : {false, true}) {
      Run run = named<Here>("move", metrics::Mode::measured);
      run.row.axes.add("block_size", N).add("machine", emulate ? "cpu_scaled_link" : "cpu_memory");
      run.row.axes.add("model", "stories");
      run.measure = [emulate, tries] {
        const Measured m = measure_here<Here>(emulate, tries);
        return times(m.recompute, m.out, m.in)
            .add("link_gb_per_s", m.link.bytes_per_second / 1e9)
            .add("link_latency_us", 1e6 * m.link.latency.value);
      };
      runs.push_back(std::move(run));
    }
  });
}

// ---- Figure 19(b): whole runs under pressure ---------------------------------------------------------

metrics::JsonObject served(const Report& report) {
  const metrics::ServingSummary seen = report.summary();
  return metrics::JsonObject()
      .add("mean_normalized_latency_s", seen.normalized_latency.mean())
      .add("completed", seen.completed)
      .add("preemptions", report.counters.preemptions)
      .add("recomputed_tokens", report.counters.recomputed_tokens.value)
      .add("swapped_out_blocks", report.counters.swapped_out_blocks.value);
}

/// The H200 gets the requests of three A100s: its memory for keys and values is the paper's, and the
/// rate at which it runs short of it is that much higher.
struct Served {
  Hardware hardware;
  double rate;
};

void add_figure_19b(std::vector<Run>& runs, double seconds, std::uint64_t seeds) {
  for (const Served& served_on :
       {Served{hardware::a100_40gb, 2.01}, Served{hardware::h200, 6.03}}) {
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      const auto requests = std::make_shared<const workload::Workload>(
          workload::sharegpt(poisson_for(served_on.rate, seconds, seed)));
      const auto serve = [&]<std::int64_t N>() {
        for_each_type(
            type_list<Preempting<presets::Vllm, N, offload::Recompute>,
                      Preempting<presets::Vllm, N, offload::SwapToHost>>{},
            [&]<class Config>() {
              Run run = named<Config>("serve", metrics::Mode::simulated, seed);
              run.row.workload = requests->name;
              run.row.axes.add("block_size", N)
                  .add("machine", served_on.hardware.name)
                  .add("preemption", Config::Offload::name)
                  .add("request_rate", served_on.rate);
              run.measure = [requests, seconds, hardware = served_on.hardware] {
                executor::Simulated::Options setup = opt_13b_setup();
                setup.hardware = hardware;
                Engine<Config, executor::Simulated> engine(setup);
                return served(
                    replay(engine, *requests,
                           {.until = seconds, .measure_to = seconds, .record_from = seconds / 2}));
              };
              runs.push_back(std::move(run));
            });
      };
      serve.template operator()<1>();
      serve.template operator()<16>();
      serve.template operator()<64>();
      serve.template operator()<256>();
    }
  }
}

/// Twelve stories at once in room for a third of them, on this machine.
template <class Config>
metrics::JsonObject serve_here() {
  executor::Cpu::Options options{.model = story_model(), .threads = 1, .wrap_tokens = true};
  options.device_blocks = 768 / Config::BlockSize::tokens.value;
  options.host_blocks = 4096 / Config::BlockSize::tokens.value;
  options.link =
      measure_here<Preempting<OnCpu, Config::BlockSize::tokens.value, offload::SwapToHost>>(true, 3)
          .link;
  Engine<Config, executor::Cpu> engine(options);
  workload::Workload w;
  w.name = "stories";
  Rng rng(1);
  for (int i = 0; i < 12; ++i) {
    Request r;
    r.prompt_length = 40 + static_cast<std::int64_t>(rng.below(60));
    r.output_length = r.sampling.max_tokens = 60 + static_cast<std::int64_t>(rng.below(80));
    w.requests.push_back(std::move(r));
  }
  return served(replay(engine, w));
}

// ---- tiers -------------------------------------------------------------------------------------------

/// Llama-13B on one A100-80GB, as in the CachedAttention paper but for the number of devices.
executor::Simulated::Options session_setup(std::int64_t host_gib, std::int64_t disk_gib) {
  executor::Simulated::Options setup = opt_13b_setup();
  setup.model = model::llama_13b;
  setup.model.max_length = 4096;
  setup.hardware = hardware::a100_80gb;
  setup.limits.max_batched_tokens = 4096;
  setup.memory = {.host_bytes = host_gib << 30, .disk_bytes = disk_gib << 30};
  return setup;
}

template <class Config>
void add_sessions(std::vector<Run>& runs, std::string_view part, std::string_view keeper,
                  const std::shared_ptr<const std::vector<Session>>& sessions,
                  const SessionOptions& o, std::int64_t host_gib, std::int64_t disk_gib) {
  Run run = named<Config>(part, metrics::Mode::simulated, o.seed);
  run.row.workload = "sessions";
  run.row.axes.add("policy", keeper)
      .add("think_s", o.think.value)
      .add("sessions", o.sessions)
      .add("host_gib", host_gib)
      .add("disk_gib", disk_gib);
  run.measure = [sessions, host_gib, disk_gib] {
    Engine<Config, executor::Simulated> engine(session_setup(host_gib, disk_gib));
    return play_sessions(engine, *sessions);
  };
  runs.push_back(std::move(run));
}

std::shared_ptr<const std::vector<Session>> shared_sessions(const SessionOptions& o) {
  return std::make_shared<const std::vector<Session>>(make_sessions(o));
}

/// A prompt of which 1,000 tokens lie on the host and 100 are new: one step.
template <class Config>
metrics::JsonObject preload_step() {
  CostInputs in = executor::Simulated::inputs<Config>(session_setup(128, 0));
  in.host = host_overhead::none;
  const cost_model::Roofline model(in);
  SamplingParams greedy;
  const auto cost = [&](std::int64_t old, std::int64_t fresh, std::int64_t blocks) {
    StepPlan plan;
    SequencePlan row;
    row.computed = old;
    row.tokens = fresh;
    row.prompt_tokens = old + fresh;
    row.sampling = &greedy;
    row.draws = 1;
    plan.sequences.push_back(row);
    plan.batched_tokens = fresh;
    plan.swap_in.resize(static_cast<std::size_t>(blocks));
    return 1e3 * model.cost(plan).seconds.value;
  };
  const std::int64_t blocks = ceil_div(1000, Config::BlockSize::tokens.value);
  const double loaded = cost(1000, 100, blocks);
  const double one_by_one = cost(1000, 100, 0) + [&] {
    StepPlan plan;
    plan.swap_in.resize(static_cast<std::size_t>(blocks));
    return 1e3 * model.cost(plan).seconds.value;
  }();
  return metrics::JsonObject()
      .add("recompute_ms", cost(0, 1100, 0))
      .add("load_then_compute_ms", one_by_one)
      .add("step_ms", loaded)
      .add("saved_percent", 100 * (1 - loaded / one_by_one));
}

// ---- a restart, on this machine ----------------------------------------------------------------------

/// A directory that goes when the run ends.
struct Scratch {
  std::filesystem::path path;
  Scratch() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "quire_offload_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw state_error(pattern, "cannot be made", "a writable temporary directory");
    }
    path = pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

/// Eight long prompts, answered by an engine, by the next one over what the first left on disk, and by one
/// that finds the same data files without the manifest that says what is in them, all in one process. The
/// answers must be the same.
metrics::JsonObject restart() {
  struct Answers {
    std::vector<std::vector<TokenId>> texts;
    double first_token = 0;
    std::int64_t hits = 0, prompts = 0, restored = 0;
    [[nodiscard]] double hit_percent() const {
      return 100.0 * static_cast<double>(hits) / static_cast<double>(prompts);
    }
  };
  const auto ask = [](const std::filesystem::path& directory) {
    executor::Cpu::Options options{.model = story_model(), .threads = 1, .wrap_tokens = true};
    options.device_blocks = 512;
    options.host_blocks = 64;
    options.disk_blocks = 2048;
    options.disk.directory = directory;
    Engine<CachedOnCpu, executor::Cpu> engine(options);
    Answers out;
    out.restored = engine.memory().tiers().counters().restored;
    for (std::uint64_t i = 0; i < 8; ++i) {
      Request r;
      for (std::uint64_t t = 0; t < 800; ++t) {
        r.prompt.push_back(static_cast<TokenId>(counter_bits(3, i, t) % 1344));
      }
      r.sampling.max_tokens = 20;
      r.sampling.temperature = 0;
      engine.submit(std::move(r));
      while (engine.has_work()) engine.step();
      for (const auto& group : engine.take_finished()) {
        out.texts.push_back(group->sequences[0].tokens);
        // a request is submitted when the one before has ended
        out.first_token +=
            (group->timeline.first_token - group->timeline.first_scheduled).value / 8;
      }
    }
    out.hits = engine.counters().prefix_hit_tokens.value;
    out.prompts = engine.counters().prompt_tokens.value;
    engine.persist();
    return out;
  };
  const Scratch kept;
  const Answers cold = ask(kept.path), warm = ask(kept.path);
  bool found = false;
  for (const auto& file : std::filesystem::directory_iterator(kept.path)) {
    if (file.path().extension() != ".manifest") continue;
    found = std::filesystem::remove(file.path());
    break;
  }
  if (!found) throw state_error(kept.path.string(), "holds no manifest", "what persist() writes");
  const Answers without = ask(kept.path);
  const bool equal = cold.texts == warm.texts && cold.texts == without.texts;
  return metrics::JsonObject()
      .add("cold_ttft_ms", 1e3 * cold.first_token)
      .add("warm_ttft_ms", 1e3 * warm.first_token)
      .add("without_manifest_ttft_ms", 1e3 * without.first_token)
      .add("saved_percent", 100 * (1 - warm.first_token / cold.first_token))
      .add("warm_hit_tokens", warm.hits)
      .add("warm_hit_percent", warm.hit_percent())
      .add("without_manifest_hit_percent", without.hit_percent())
      .add("restored_blocks", warm.restored)
      .add("equal_answers_percent", equal ? 100 : 0);
}

/// The same on this machine: 512 tokens on the host, 256 new ones, over a link slowed to the A100's
/// ratio of moving to computing.
template <class Config>
metrics::JsonObject preload_here(int tries) {
  constexpr std::int64_t old = 512, fresh = 256;
  using Moves = Preempting<OnCpu, Config::BlockSize::tokens.value, offload::SwapToHost>;
  executor::Cpu::Options options{.model = story_model(), .threads = 1};
  options.device_blocks = blocks_for(old + fresh, Config::BlockSize::tokens);
  options.host_blocks = blocks_for(old, Config::BlockSize::tokens);
  options.link = measure_here<Moves>(true, tries).link;
  KvGeometry geometry = executor::Cpu::geometry<Moves>(options);
  geometry.tiers.overlaps = tier_rules<typename Config::Offload>().overlaps;
  typename executor::Cpu::Bound<Config> bound(options, geometry);
  SamplingParams greedy;
  greedy.temperature = 0;
  const std::vector<TokenId> text(static_cast<std::size_t>(old + fresh), TokenId{7});
  std::vector<BlockTable> tables(1);
  StepPlan first, out, load, compute;
  for (std::uint32_t b = 0; b < options.device_blocks.value; ++b) {
    tables[0].append(BlockId{b});
    if (b >= options.host_blocks.value) continue;
    out.swap_out.push_back({BlockId{b}, BlockId{b}});
    load.swap_in.push_back({BlockId{b}, BlockId{b}});
  }
  const auto add_row = [&](StepPlan& plan, std::int64_t computed, std::int64_t tokens) {
    SequencePlan row;
    row.computed = computed;
    row.tokens = tokens;
    row.prompt_tokens = old + fresh;
    row.history = text;
    row.tables = tables;
    row.sampling = &greedy;
    row.draws = 1;
    plan.sequences.push_back(row);
    plan.batched_tokens = tokens;
  };
  add_row(first, 0, old);
  add_row(compute, old, fresh);
  StepPlan both = load;
  add_row(both, old, fresh);
  StepResult result;
  const auto timed = [&](const StepPlan& plan) {
    const auto start = Clock::now();
    bound.execute(plan, result);
    return 1e3 * since(start);
  };
  (void)timed(first);
  (void)timed(out);
  double loads = 1e9, computes = 1e9, step = 1e9;
  for (int i = 0; i < tries; ++i) {  // in turn, so that whatever else the machine does falls on all
    loads = std::min(loads, timed(load));
    computes = std::min(computes, timed(compute));
    step = std::min(step, timed(both));
  }
  const auto layers = static_cast<double>(options.model.config.shape.layers);
  // the first layer must have come before anything is computed
  const double possible = std::min(loads, computes) * (layers - 1) / layers;
  return metrics::JsonObject()
      .add("load_ms", loads)
      .add("compute_ms", computes)
      .add("load_then_compute_ms", loads + computes)
      .add("step_ms", step)
      .add("saved_percent", 100 * (1 - step / (loads + computes)))
      .add("of_possible_percent", 100 * (loads + computes - step) / possible);
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  add_figure_19a(runs, options.pick(3, 25, 25));
  add_figure_19b(runs, options.pick(60.0, 600.0, 600.0), options.pick<std::uint64_t>(1, 1, 5));
  for_each_type(
      type_list<
          Preempting<OnCpu, 1, offload::Recompute>, Preempting<OnCpu, 1, offload::SwapToHost>,
          Preempting<OnCpu, 16, offload::Recompute>, Preempting<OnCpu, 16, offload::SwapToHost>,
          Preempting<OnCpu, 64, offload::Recompute>, Preempting<OnCpu, 64, offload::SwapToHost>>{},
      [&]<class Config>() {
        Run run = named<Config>("serve", metrics::Mode::measured);
        run.row.workload = "stories";
        run.row.axes.add("block_size", Config::BlockSize::tokens.value)
            .add("machine", "cpu_scaled_link")
            .add("preemption", Config::Offload::name);
        run.measure = [] { return serve_here<Config>(); };
        runs.push_back(std::move(run));
      });
  for_each_type(type_list<Keeping<offload::Tiered>, Keeping<offload::TieredOverlapped>>{},
                [&]<class Config>() {
                  Run run = named<Config>("preload", metrics::Mode::simulated);
                  run.row.axes.add("policy", Config::Offload::name).add("machine", "a100_80gb");
                  run.measure = [] { return preload_step<Config>(); };
                  runs.push_back(std::move(run));
                });
  for_each_type(
      type_list<with<OnCpu, set_offload<offload::Tiered>>,
                with<OnCpu, set_offload<offload::TieredOverlapped>>>{},
      [&, tries = options.pick(5, 60, 60)]<class Config>() {
        Run run = named<Config>("preload", metrics::Mode::measured);
        run.row.axes.add("policy", Config::Offload::name).add("machine", "cpu_scaled_link");
        run.measure = [tries] { return preload_here<Config>(tries); };
        runs.push_back(std::move(run));
      });
  {
    Run run = named<CachedOnCpu>("restart", metrics::Mode::measured);
    run.measure = [] { return restart(); };
    runs.push_back(std::move(run));
  }
  const std::size_t sessions = options.pick<std::size_t>(40, 200, 2000);
  // As much host memory and disk a session as the paper had: 128 GiB and 10 TiB for 9,000.
  const auto share = [sessions](std::int64_t gib) {
    return ceil_div(gib * static_cast<std::int64_t>(sessions), 9000);
  };
  for (const double think : {60.0, 300.0, 900.0}) {
    const SessionOptions o{.sessions = sessions, .think = think};
    const auto all = shared_sessions(o);
    add_sessions<presets::Vllm>(runs, "sessions", "nothing", all, o, 0, 0);
    for_each_type(Keepers{}, [&]<class Config>() {
      add_sessions<Config>(runs, "sessions", Config::Offload::name, all, o, share(128),
                           share(10240));
    });
  }
  const SessionOptions o{.sessions = sessions, .think = 300.0};
  const auto all = shared_sessions(o);
  for (const std::int64_t host : {0, 16, 32, 64, 128}) {
    add_sessions<Keeping<offload::HostCache>>(runs, "tiers", "host_cache", all, o, host, 0);
    add_sessions<Keeping<offload::Tiered>>(runs, "tiers", "tiered", all, o, host, 2048);
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(argc, argv, "offload",
                                           "Whether to compute keys and values again or to move "
                                           "them, and what tiers below the device keep.\n\n"
                                           "Examples:\n"
                                           "  offload --out rows.jsonl\n"
                                           "  offload --out rows.jsonl --filter move\n",
                                           quire::experiment::make_runs);
}
