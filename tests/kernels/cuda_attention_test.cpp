// An attention of one's own on a device: the same variant through the CPU executor is the oracle.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kernels/device/play.hpp>
#include <quire/attention/causal.hpp>
#include <quire/executor/cpu_attention.hpp>
#include <quire/executor/cuda_attention.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/model/shape.hpp>
#include <quire/simt/streams.cuh>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"
#include "tests/kernels/plans_by_hand.hpp"

namespace quire::executor {
namespace {

using namespace testing;

/// The farther back a key stands the less it weighs, more so in later heads and layers, whose view is
/// narrower too; and every head has a sink.
struct FadingByLayer : attention::Causal {
  static constexpr std::string_view name = "fading_by_layer";
  static constexpr bool transforms_logits = true, has_sink = true;
  float by = 0.05f;
  std::int64_t window = 30;

  FadingByLayer() = default;
  FadingByLayer(const model::Shape& shape, std::size_t layer)
      : by(0.05f * static_cast<float>(layer + 1)),
        window(shape.layers == 3 ? 24 - 6 * static_cast<std::int64_t>(layer) : 30) {}
  [[nodiscard]] QUIRE_HD std::int64_t first_visible(std::int64_t position) const {
    return position < window ? 0 : position - window + 1;
  }
  template <class Math>
  [[nodiscard]] QUIRE_HD typename Math::Value logit(Math, typename Math::Value s, std::size_t head,
                                                    typename Math::Value distance) const {
    return Math::add(s, Math::mul(distance, Math::set(-by * static_cast<float>(head + 1))));
  }
  [[nodiscard]] QUIRE_HD float sink_logit(std::size_t head) const {
    return 0.5f - static_cast<float>(head);
  }
};
using Base = BasicCuda<float, kernels::LoopProduct, 16>;
using HalfBase = BasicCuda<Fp16, kernels::LoopProduct, 16>;
using OnDevice = CudaAttention<FadingByLayer, Base>;
using HalvesOnDevice = CudaAttention<FadingByLayer, HalfBase>;
using OnCpu = CpuAttention<FadingByLayer>;

template <class Executor>
device::Log play(const std::string& model, std::int64_t blocks) {
  return device::play<presets::Vllm, Executor>(
      std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models", model, blocks);
}

// Windows of the model that are narrower than the variant's in one layer and wider in another, swaps,
// forks, recorded steps.
TEST(CudaAttention, EqualsTheCpuExecutorWithTheSameVariant) {
  for (const auto& [model, blocks] : {std::pair("mistral", 8), std::pair("qwen3", 9)}) {
    const device::Log cpu = play<OnCpu>(model, blocks), cuda = play<OnDevice>(model, blocks);
    EXPECT_EQ(cpu.records, 10u);
    EXPECT_GT(cpu.tokens.size(), 80u);
    EXPECT_EQ(cuda.tokens, cpu.tokens) << model;
    EXPECT_EQ(cuda.decisions, cpu.decisions) << model;
    EXPECT_GT(cpu.counters.preemptions, 0) << model;
    EXPECT_NE(cpu.tokens, play<Cpu>(model, blocks).tokens) << "the variant changes nothing";
  }
}

// Prompts through the prefill kernel, a prefix that rows attend to together, and what each has alone.
TEST(CudaAttention, PromptsAndSharedPrefixesInHalves) {
  const std::vector<HandStep> steps = {{{}, {}, {{0, 0, 48, {0, 1, 2}, 1}, {4, 0, 20, {9, 10}, 1}}},
                                       {{},
                                        {},
                                        {{0, 48, 1, {0, 1, 2, 3}, 1},
                                         {1, 32, 1, {0, 1, 4}, 1},
                                         {4, 20, 1, {9, 10}, 1},
                                         {3, 0, 9, {11}, 1},
                                         {2, 32, 1, {0, 1, 5}, 1}}}};
  const auto cpu = drawn_by_hand<OnCpu, presets::Vllm>(steps, golden("qwen3"));
  auto& launches = simt::emulator::device().launches;
  const std::uint64_t shared = launches["shared_prefix"], prompts = launches["paged_prefill"];
  const auto cuda = drawn_by_hand<HalvesOnDevice, presets::Vllm>(steps, golden("qwen3"), 16);
  EXPECT_GT(launches["shared_prefix"], shared);
  EXPECT_GT(launches["paged_prefill"], prompts);
  expect_close(cuda, cpu, 0.01f);
}

TEST(CudaAttention, RefusesADraftModel) {
  auto options = options_by_hand<OnDevice>(golden("qwen3"));
  options.draft_model = golden("qwen3");
  EXPECT_THAT([&] { OnDevice::Bound<presets::Vllm>(options, geometry_by_hand); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("draft_model: an attention")));
}

}  // namespace
}  // namespace quire::executor
