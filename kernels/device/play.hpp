#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/engine/engine.hpp>
#include <quire/engine/replay.hpp>
#include <quire/executor/timed.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/simt/common.hpp>

namespace quire::device {

/// What an engine decided and said.
struct Log {
  std::vector<std::uint64_t> decisions;  // after each step
  std::vector<TokenId> tokens;
  EngineCounters counters;
  std::size_t records = 0;
};

/// Ten short requests, greedy, two of them in two samples, on one of the small models in `models`.
/// made: called when the engine is made and has not run; chunk: tokens of a step, where a preset cuts
/// prompts
template <class Preset, class Executor>
Log play(
    const std::filesystem::path& models, const std::string& model, std::int64_t blocks,
    const std::function<void()>& made = [] {}, std::int64_t chunk = 16) {
  typename executor::Timed<Executor>::Options options;
  options.model = checkpoint::open_checkpoint((models / model).string());
  options.limits.max_batch = 6;
  options.limits.chunk = chunk;
  options.limits.max_delay = 1e-3;
  options.device_blocks = blocks;
  options.host_blocks = 16;
  options.poison = true;
  if constexpr (requires { options.multiprocessors; }) {
    if (simt::emulated) options.multiprocessors = 2;  // idle blocks cost time there
  }
  options.seconds = std::make_shared<const std::vector<double>>(100000, 1e-3);
  Engine<Preset, executor::Timed<Executor>> engine(options);
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

/// The cases that executors are compared on: vllm, orca_max and sarathi, with and without
/// preemption.
struct Case {
  std::string preset, model;
  std::int64_t blocks;
  bool preempts;
};
inline std::vector<Case> cases() {
  return {{"vllm", "llama", 9, true},
          {"vllm", "qwen2", 40, false},
          {"orca_max", "mistral", 60, false},
          {"sarathi", "qwen3", 8, true},
          {"sarathi", "mistral", 8, true}};
}
template <class Executor>
Log play(const std::filesystem::path& models, const Case& c) {
  if (c.preset == "vllm") return play<presets::Vllm, Executor>(models, c.model, c.blocks);
  if (c.preset == "orca_max") return play<presets::OrcaMax, Executor>(models, c.model, c.blocks);
  return play<presets::Sarathi, Executor>(models, c.model, c.blocks);
}

}  // namespace quire::device
