// The CUDA executor on the emulator against the CPU executor: the same engine, the same decisions,
// the same greedy tokens.
#include <cstdint>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include <kernels/device/play.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/loops.cuh>

namespace quire::executor {
namespace {

using OnEmulator = BasicCuda<float, kernels::LoopProduct, 8, 16>;

using device::Log;

template <class Preset, class Executor>
Log play(const std::string& model, std::int64_t blocks) {
  return device::play<Preset, Executor>(
      std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models", model, blocks);
}

template <class Preset>
void expect_equal(const std::string& model, std::int64_t blocks, bool preempts) {
  const Log cpu = play<Preset, Cpu>(model, blocks);
  const Log cuda = play<Preset, OnEmulator>(model, blocks);
  EXPECT_EQ(cpu.records, 10u);
  EXPECT_EQ(cuda.records, 10u);
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
