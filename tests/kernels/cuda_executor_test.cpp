// The CUDA executor on the emulator against the CPU executor: the same engine, the same decisions,
// the same greedy tokens.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/load.hpp>
#include <quire/engine/engine.hpp>
#include <quire/engine/replay.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/executor/timed.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/vllm.hpp>

namespace quire::executor {
namespace {

using OnEmulator = BasicCuda<float, kernels::PlainProduct, 8, 16>;

struct Log {
  std::vector<std::uint64_t> decisions;
  std::vector<TokenId> tokens;
  EngineCounters counters;
};

template <class Preset, class Executor>
Log play(const std::string& model, std::int64_t blocks) {
  typename Timed<Executor>::Options options;
  options.model = checkpoint::open_checkpoint(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models" / model).string());
  options.limits.max_batch = 6;
  options.limits.chunk = 16;
  options.limits.max_delay = 1e-3;
  options.device_blocks = blocks;
  options.host_blocks = 16;
  options.poison = true;
  options.seconds = std::make_shared<const std::vector<double>>(100000, 1e-3);
  Engine<Preset, Timed<Executor>> engine(options);
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
  EXPECT_EQ(report.records.size(), w.requests.size());
  log.counters = report.counters;
  return log;
}

template <class Preset>
void expect_equal(const std::string& model, std::int64_t blocks, bool preempts) {
  const Log cpu = play<Preset, Cpu>(model, blocks);
  const Log cuda = play<Preset, OnEmulator>(model, blocks);
  EXPECT_GT(cpu.tokens.size(), 80u);
  EXPECT_EQ(cuda.tokens, cpu.tokens) << Preset::name << ", " << model;
  EXPECT_EQ(cuda.decisions, cpu.decisions) << Preset::name << ", " << model;
  if (preempts) {
    EXPECT_GT(cpu.counters.preemptions, 0) << "the pool is too large to test swaps";
  }
}

TEST(CudaExecutor, EqualsTheCpuExecutorOnVllm) {
  expect_equal<presets::Vllm>("llama", 9, true);
  expect_equal<presets::Vllm>("qwen2", 40, false);
}
TEST(CudaExecutor, EqualsTheCpuExecutorOnOrcaMax) {
  expect_equal<presets::OrcaMax>("mistral", 60, false);
}
TEST(CudaExecutor, EqualsTheCpuExecutorOnSarathi) {
  expect_equal<presets::Sarathi>("qwen3", 8, true);
  expect_equal<presets::Sarathi>("mistral", 8, true);
}

TEST(CudaExecutor, RefusesModelsWithoutKernels) {
  for (const std::string model : {"opt", "gpt2", "mixtral"}) {
    EXPECT_THROW((play<presets::Vllm, OnEmulator>(model, 40)), Error) << model;
  }
}

}  // namespace
}  // namespace quire::executor
