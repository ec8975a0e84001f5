#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/engine/engine.hpp>
#include <quire/engine/replay.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/memory/stored_block.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/retention/h2o.hpp>
#include <quire/retention/limits.hpp>
#include <quire/retention/quest.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/retention/tova.hpp>
#include <quire/simt/common.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::device {

/// What an engine decided and said.
struct Log {
  std::vector<std::uint64_t> decisions;  // after each step
  std::vector<TokenId> tokens;
  EngineCounters counters;
  std::size_t records = 0;
};

/// An executor behind a function, whose steps all take a millisecond: a preset's engine is compiled once,
/// whoever runs its steps.
struct Handed {
  struct Options {
    model::Shape shape;
    SchedulerLimits limits{};
    KvGeometry geometry{};
    std::function<void(const StepPlan&, StepResult&)> execute;
    std::span<const StoredBlock> stored{};  // what an earlier executor left in the disk tier
  };
  class Steps {
   public:
    static constexpr std::string_view name = "handed";
    static constexpr bool needs_tokens = true;
    Steps(const Options& options, const KvGeometry&)
        : execute_(options.execute), stored_(options.stored) {}
    [[nodiscard]] std::span<const StoredBlock> stored() const { return stored_; }
    void execute(const StepPlan& plan, StepResult& result) {
      execute_(plan, result);
      result.seconds = 1e-3;
    }

   private:
    std::function<void(const StepPlan&, StepResult&)> execute_;
    std::span<const StoredBlock> stored_;
  };
  template <class C>
  using Bound = Steps;

  [[nodiscard]] static model::Shape shape(const Options& options) { return options.shape; }
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    return options.geometry;
  }
};

/// Ten short requests, greedy, two of them in two samples.
/// made: called when the engine is made and has not run
template <class Preset>
Log play(const Handed::Options& options, const std::function<void()>& made) {
  Engine<Preset, Handed> engine(options);
  made();
  workload::Workload w;
  Rng rng(11);
  for (std::uint64_t i = 0; i < 10; ++i) {
    Request r;
    r.arrival = static_cast<double>(i) * 2e-3;
    for (std::uint64_t n = 1 + rng.below(30), k = 0; k < n; ++k) {
      r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    }
    r.prompt_length = static_cast<std::int64_t>(r.prompt.size());
    r.output_length = 4 + static_cast<std::int64_t>(rng.below(16));
    r.sampling.max_tokens = *r.output_length;
    r.sampling.temperature = 0;
    r.sampling.n = i % 5 == 4 ? 2 : 1;  // forks, and with them copies on write
    if (i % 4 == 1) r.sampling.repetition_penalty = 1.2;
    w.requests.push_back(std::move(r));
  }
  Log log;
  ReplayOptions replaying;
  replaying.keep_text = true;
  replaying.on_step = [&](const StepStats&, Seconds) {
    log.decisions.push_back(engine.decision_hash());
    for (const TokenEvent& e : engine.events()) log.tokens.push_back(e.token);
  };
  const Report report = replay(engine, w, replaying);
  log.records = report.records.size();
  log.counters = report.counters;
  return log;
}

/// Far fewer tokens than the texts have, in blocks that empty while they run.
template <class Policy>
struct Retains : presets::Vllm {
  static constexpr std::string_view name = "vllm+retention";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::SwapToHost;
  using BlockSize = quire::BlockSize<4>;
  using Retention = Policy;
};
inline constexpr RetentionLimits few_tokens{.budget = 10,
                                            .sinks = 2,
                                            .recent = 3,
                                            .history = 16,
                                            .observation = 4,
                                            .pooling = 3,
                                            .pyramid_slope = 4,
                                            .dense_layers = 1};

/// The same through an executor, on one of the small models in `models`. chunk: tokens of a step, where a
/// preset cuts prompts
template <class Preset, class Executor>
Log play(
    const std::filesystem::path& models, const std::string& model, std::int64_t blocks,
    const std::function<void()>& made = [] {}, std::int64_t chunk = 16,
    const RetentionLimits& retention = {}) {
  typename Executor::Options options;
  options.model = checkpoint::open_checkpoint((models / model).string());
  options.limits.max_batch = 6;
  options.limits.chunk = chunk;
  options.limits.max_delay = 1e-3;
  options.limits.retention = retention;
  options.device_blocks = blocks;
  options.host_blocks = 16;
  options.poison = true;
  if constexpr (requires { options.multiprocessors; }) {
    if (simt::emulated) options.multiprocessors = 2;  // idle blocks cost time there
  }
  const KvGeometry geometry = Executor::template geometry<Preset>(options);
  auto steps = detail::bind_executor<Preset, Executor>(options, geometry);
  return play<Preset>(
      {Executor::shape(options),
       options.limits,
       geometry,
       [&steps](const StepPlan& plan, StepResult& result) { steps.execute(plan, result); },
       {}},
      made);
}

/// The cases that executors are compared on: vllm, orca_max and sarathi, with and without
/// preemption.
struct Case {
  std::string preset, model;
  std::int64_t blocks;
  bool preempts;
};
inline std::vector<Case> cases() {
  return {{"vllm", "llama", 9, true},         {"vllm", "qwen2", 40, false},
          {"orca_max", "mistral", 60, false}, {"sarathi", "qwen3", 8, true},
          {"sarathi", "mistral", 8, true},    {"vllm", "opt", 9, true},
          {"sarathi", "gpt2", 8, true},       {"vllm", "mixtral", 9, true},
          {"sarathi", "qwen3_moe", 8, true}};
}
/// Those that drop tokens or select pages, by the policy's name.
inline std::vector<Case> retaining_cases() {
  return {{"h2o", "llama", 12, true},
          {"streaming_llm", "qwen3", 12, true},
          {"tova", "qwen3", 12, true},
          {"quest", "llama", 30, true}};
}
template <class Executor>
Log play_retaining(const std::filesystem::path& models, const Case& c) {
  const auto by = [&]<class Policy>(Policy*) {
    return play<Retains<Policy>, Executor>(
        models, c.model, c.blocks, [] {}, 16, few_tokens);
  };
  if (c.preset == "h2o") return by(static_cast<retention::H2O*>(nullptr));
  if (c.preset == "tova") return by(static_cast<retention::Tova*>(nullptr));
  if (c.preset == "quest") return by(static_cast<retention::Quest*>(nullptr));
  return by(static_cast<retention::StreamingLlm*>(nullptr));
}
template <class Executor>
Log play(const std::filesystem::path& models, const Case& c) {
  if (c.preset == "vllm") return play<presets::Vllm, Executor>(models, c.model, c.blocks);
  if (c.preset == "orca_max") return play<presets::OrcaMax, Executor>(models, c.model, c.blocks);
  return play<presets::Sarathi, Executor>(models, c.model, c.blocks);
}

}  // namespace quire::device
