#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/engine/engine.hpp>
#include <quire/engine/replay.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/memory/stored_block.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/offload/tiered.hpp>
#include <quire/prefix_index/hash_chain.hpp>
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
  std::int64_t host_fetched = 0, disk_fetched = 0;  // blocks from tiers
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

template <class Preset>
inline constexpr bool has_disk = tier_rules<typename Preset::Offload>().uses_disk;

/// Ten short requests, greedy, two of them in two samples; where there is a disk tier, the second five go
/// on where the first five asked.
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
    if (has_disk<Preset> && i >= 5) r.prompt = w.requests[i - 5].prompt;
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
  if constexpr (has_disk<Preset>) {
    const auto& tiers = engine.memory().tiers().counters();
    log.host_fetched = tiers.host_fetched;
    log.disk_fetched = tiers.disk_fetched;
  }
  return log;
}

/// A folder of its own while it lives.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "quire_tiers_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error(ErrorKind::state, name, "cannot be made", "a folder that can be written");
    }
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

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
  std::optional<Folder> folder;
  if constexpr (has_disk<Preset>) {
    options.disk.directory = folder.emplace().path();
    options.disk_blocks = 40;
  }
  options.poison = true;
  const KvGeometry geometry = Executor::template geometry<Preset>(options);
  auto steps = detail::bind_executor<Preset, Executor>(options, geometry);
  return play<Preset>(
      {Executor::shape(options), options.limits, geometry,
       [&steps](const StepPlan& plan, StepResult& result) { steps.execute(plan, result); },
       steps.stored()},
      made);
}

/// Below the device slots of the host and files: blocks leave it, and come back for prompts that continue
/// those of before.
struct InTiers : presets::Vllm {
  static constexpr std::string_view name = "vllm+tiered";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using PrefixIndex = prefix_index::HashChain;
  using Offload = offload::Tiered;
  using BlockSize = quire::BlockSize<4>;
};

/// The cases that executors are compared on: vllm, orca_max and sarathi, with and without
/// preemption; policies that drop tokens or select pages, by name; and tiers.
struct Case {
  std::string preset, model;
  std::int64_t blocks;
  bool preempts;
  [[nodiscard]] bool plain() const {
    return preset == "vllm" || preset == "orca_max" || preset == "sarathi";
  }
};
inline std::vector<Case> cases() {
  return {{"vllm", "llama", 9, true},
          {"vllm", "qwen2", 40, false},
          {"orca_max", "mistral", 60, false},
          {"sarathi", "qwen3", 8, true},
          {"sarathi", "mistral", 8, true},
          {"vllm", "opt", 9, true},
          {"sarathi", "opt_post_norm", 8, true},
          {"sarathi", "gpt2", 8, true},
          {"vllm", "mixtral", 9, true},
          {"sarathi", "qwen3_moe", 8, true},
          {"h2o", "llama", 12, true},
          {"streaming_llm", "qwen3", 12, true},
          {"tova", "qwen3", 12, true},
          {"quest", "llama", 30, true},
          {"tiered", "llama", 34, true}};
}
/// A plain case, which executors of every kind play.
template <class Executor>
Log play_plain(const std::filesystem::path& models, const Case& c) {
  if (c.preset == "vllm") return play<presets::Vllm, Executor>(models, c.model, c.blocks);
  if (c.preset == "orca_max") return play<presets::OrcaMax, Executor>(models, c.model, c.blocks);
  if (c.preset == "sarathi") return play<presets::Sarathi, Executor>(models, c.model, c.blocks);
  throw usage_error("device", "there is no case " + c.preset);
}
template <class Executor>
Log play(const std::filesystem::path& models, const Case& c) {
  const auto retaining = [&]<class Policy>(Policy*) {
    return play<Retains<Policy>, Executor>(
        models, c.model, c.blocks, [] {}, 16, few_tokens);
  };
  if (c.preset == "h2o") return retaining(static_cast<retention::H2O*>(nullptr));
  if (c.preset == "streaming_llm") return retaining(static_cast<retention::StreamingLlm*>(nullptr));
  if (c.preset == "tova") return retaining(static_cast<retention::Tova*>(nullptr));
  if (c.preset == "quest") return retaining(static_cast<retention::Quest*>(nullptr));
  if (c.preset == "tiered") return play<InTiers, Executor>(models, c.model, c.blocks);
  return play_plain<Executor>(models, c);
}

}  // namespace quire::device
