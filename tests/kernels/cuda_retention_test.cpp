// Policies that drop tokens or select pages through the CUDA executor on the emulator: the CPU executor's
// decisions, and its greedy tokens.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kernels/device/play.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/kv_format/fp16.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/retention/retention.hpp>
#include <quire/simt/streams.cuh>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"

namespace quire::executor {
namespace {

using device::few_tokens;
using device::Retains;
using Retaining = BasicCuda<float, kernels::LoopProduct, 8, 16>;
const std::filesystem::path retaining_models =
    std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models";

template <class Preset, class Executor>
device::Log retain(
    const std::string& model, std::int64_t blocks, std::int64_t chunk = 16,
    const std::function<void()>& made = [] {}) {
  return device::play<Preset, Executor>(retaining_models, model, blocks, made, chunk, few_tokens);
}
[[nodiscard]] std::uint64_t launched(std::string_view kernel) {
  return simt::emulator::device().launches[kernel];
}

/// kernels: that a step of the policy has beside those of others; all of its steps on few blocks, so that
/// sequences leave and come back
template <class Policy>
void expect_the_same(const std::string& model, std::int64_t blocks,
                     const std::vector<std::string_view>& kernels) {
  using Config = Retains<Policy>;
  const device::Log cpu = retain<Config, Cpu>(model, blocks);
  const device::Log all = retain<Retains<retention::KeepAll>, Cpu>(model, 40);
  std::vector<std::uint64_t> before;
  for (const auto kernel : kernels) before.push_back(launched(kernel));
  const device::Log cuda = retain<Config, Retaining>(model, blocks);
  EXPECT_EQ(cpu.records, 10u);
  EXPECT_NE(cpu.tokens, all.tokens) << "nothing is dropped";
  EXPECT_GT(cpu.counters.swapped_out_blocks.value, 0) << "the pool is too large to test swaps";
  EXPECT_EQ(cuda.tokens, cpu.tokens);
  EXPECT_EQ(cuda.decisions, cpu.decisions);
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    EXPECT_GT(launched(kernels[i]), before[i]) << kernels[i];
  }
}

TEST(CudaRetention, SlidingWindowEqualsTheCpuExecutor) {
  expect_the_same<retention::SlidingWindow>("llama", 12, {});
}
TEST(CudaRetention, StreamingLlmEqualsTheCpuExecutor) {
  expect_the_same<retention::StreamingLlm>("qwen3", 12, {"turn_queries"});
}
TEST(CudaRetention, H2OEqualsTheCpuExecutor) {
  expect_the_same<retention::H2O>("llama", 12, {"attention_votes", "move_tokens"});
}
TEST(CudaRetention, TovaEqualsTheCpuExecutor) {
  expect_the_same<retention::Tova>("qwen3", 12, {"attention_votes", "move_tokens"});
}
TEST(CudaRetention, ScissorhandsEqualsTheCpuExecutor) {
  expect_the_same<retention::Scissorhands>("qwen2", 12, {"attention_votes", "move_tokens"});
}
TEST(CudaRetention, SnapKvEqualsTheCpuExecutor) {
  expect_the_same<retention::SnapKv>("qwen3", 20, {"attention_votes", "move_tokens"});
}
TEST(CudaRetention, PyramidKvEqualsTheCpuExecutor) {
  expect_the_same<retention::PyramidKv>("llama", 20, {"attention_votes", "move_tokens"});
}
TEST(CudaRetention, QuestEqualsTheCpuExecutor) {
  expect_the_same<retention::Quest>("llama", 30, {"page_ranges", "page_scores", "choose_pages"});
}
/// Learned positions.
TEST(CudaRetention, KeptTokensOfModelsBeforeLlama) {
  expect_the_same<retention::H2O>("opt", 12, {"attention_votes"});
}

/// Chunks of prompts vote and draw nothing; the policy hears of them before the next step.
struct RetainsChunks : Retains<retention::SnapKv> {
  static constexpr std::string_view name = "sarathi+retention";
  using Scheduler = presets::Sarathi::Scheduler;
};
TEST(CudaRetention, ChunksOfPromptsVote) {
  const device::Log cpu = retain<RetainsChunks, Cpu>("llama", 40, 5);
  const device::Log cuda = retain<RetainsChunks, Retaining>("llama", 40, 5);
  EXPECT_EQ(cuda.tokens, cpu.tokens);
  EXPECT_EQ(cuda.decisions, cpu.decisions);
  EXPECT_GT(cpu.decisions.size(), 60u);
}

/// Slots move before blocks leave, and into none that is still on its way out.
TEST(CudaRetention, StreamsRunInEveryOrderThatEventsAllow) {
  using simt::emulator::Order;
  using Config = Retains<retention::H2O>;
  const device::Log cpu = retain<Config, Cpu>("llama", 9);
  ASSERT_GT(cpu.counters.swapped_out_blocks.value, 3);
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = 3});
    simt::emulator::Device& device = simt::emulator::device();
    const std::uint64_t replays = device.replays;
    std::uint64_t waits = 0;  // from when the weights are there
    const device::Log cuda =
        retain<Config, Retaining>("llama", 9, 16, [&] { waits = device.waits; });
    EXPECT_EQ(cuda.tokens, cpu.tokens);
    EXPECT_EQ(cuda.decisions, cpu.decisions);
    EXPECT_GT(device.replays - replays, cpu.decisions.size() / 8);
    EXPECT_LE(device.waits - waits,
              cpu.decisions.size());  // for drawn tokens and votes, once a step
  }
}

/// With 16-bit activations: kept tokens through matrix units, and prompts through the prefill kernel where
/// pages are selected. Rounding may turn a token here and there, and with it that text's rest.
template <class Policy>
struct RetainsHalves : Retains<Policy> {
  using KvFormat = kv_format::Fp16;
};
template <class Policy>
void expect_nearly_the_same(std::string_view kernel) {
  using Executor = BasicCuda<Fp16, kernels::LoopProduct, 16>;
  const device::Log cpu = retain<Retains<Policy>, Cpu>("qwen3", 40);
  const std::uint64_t before = launched(kernel);
  const device::Log cuda = retain<RetainsHalves<Policy>, Executor>("qwen3", 40);
  EXPECT_GT(launched(kernel), before);
  EXPECT_EQ(cuda.decisions, cpu.decisions);
  ASSERT_EQ(cuda.tokens.size(), cpu.tokens.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < cpu.tokens.size(); ++i) equal += cuda.tokens[i] == cpu.tokens[i];
  EXPECT_GE(equal * 100, cpu.tokens.size() * 85) << equal << " of " << cpu.tokens.size();
}
TEST(CudaRetention, HalvesDecideAlike) {
  expect_nearly_the_same<retention::H2O>("paged_decode_matrix");
  expect_nearly_the_same<retention::Quest>("paged_prefill");
}

/// What nobody asked for: no kernel, no byte, no wait.
TEST(CudaRetention, KeepAllCostsNothing) {
  static_assert(std::is_empty_v<KeepingFor<Retains<retention::KeepAll>>>);
  constexpr std::string_view kernels[] = {"attention_votes", "move_tokens", "turn_queries",
                                          "page_ranges",     "page_scores", "choose_pages"};
  std::uint64_t before = 0, after = 0;
  for (const auto kernel : kernels) before += launched(kernel);
  simt::emulator::Device& device = simt::emulator::device();
  std::uint64_t waits = 0;  // from when the weights are there
  const device::Log log = retain<Retains<retention::KeepAll>, Retaining>(
      "llama", 40, 16, [&] { waits = device.waits; });
  EXPECT_LE(device.waits - waits, log.decisions.size());
  for (const auto kernel : kernels) after += launched(kernel);
  EXPECT_EQ(after, before);
}
template <class Policy>
std::pair<std::size_t, std::size_t> memory_of() {
  Retaining::Options options;
  options.model = testing::opened((retaining_models / "llama").string());
  options.limits.max_batch = 4;
  options.device_blocks = 30;
  const std::size_t before = simt::emulator::device().allocated();
  const Retaining::Bound<Retains<Policy>> steps(options,
                                                Retaining::geometry<Retains<Policy>>(options));
  EXPECT_EQ(steps.fetched_bytes(), 0u);
  return {simt::emulator::device().allocated() - before, steps.retention_bytes()};
}
TEST(CudaRetention, PoliciesTakeTheMemoryThatTheySay) {
  const auto [all, nothing] = memory_of<retention::KeepAll>();
  EXPECT_EQ(nothing, 0u);
  EXPECT_EQ(memory_of<retention::H2O>(), std::pair(all, nothing));  // room comes with the votes
  EXPECT_EQ(memory_of<retention::SlidingWindow>(), std::pair(all, nothing));
  const auto [quest, ranges] = memory_of<retention::Quest>();
  // blocks, layers, KV heads, least and most, dimensions; and partial results of those that choose
  const model::Shape s = testing::opened((retaining_models / "llama").string()).config.shape;
  EXPECT_EQ(ranges, 30u * static_cast<std::size_t>(s.layers * s.kv_heads * 2 * s.head_dim) * 4);
  EXPECT_GE(quest, all + ranges);
}

/// A step's votes are 8 bytes for each token that a lane has, and nothing else comes back.
TEST(CudaRetention, VotesComeBackAndNothingElse) {
  using Config = Retains<retention::Tova>;
  Retaining::Options options;
  options.model = testing::opened((retaining_models / "llama").string());
  options.device_blocks = 30;
  options.limits.retention = few_tokens;
  const KvGeometry geometry = Retaining::geometry<Config>(options);
  EXPECT_TRUE(geometry.attends);
  Retaining::Bound<Config> steps(options, geometry);
  std::uint64_t expected = 0;
  const std::int64_t layers = options.model.config.shape.layers;
  const auto execute = [&](const StepPlan& plan, StepResult& result) {
    for (const SequencePlan& s : plan.sequences) {
      ASSERT_EQ(std::ssize(s.lanes), layers);
      for (const retention::Lane& lane : s.lanes) expected += 8 * lane.entries.size();
    }
    steps.execute(plan, result);
    EXPECT_EQ(result.votes_begin.size(), plan.sequences.size() + 1);
    EXPECT_EQ(steps.fetched_bytes(), expected);
  };
  const device::Log log =
      device::play<Config>({options.model.config.shape, options.limits, geometry, execute}, [] {});
  EXPECT_EQ(log.records, 10u);
  EXPECT_GT(expected, 1000u);
}

template <class Executor>
typename Executor::Options retaining_options(const std::string& model,
                                             const RetentionLimits& retention) {
  typename Executor::Options options;
  options.model = testing::opened((retaining_models / model).string());
  options.limits.max_batch = 6;
  options.limits.retention = retention;
  options.device_blocks = 30;
  options.host_blocks = 16;
  options.poison = true;
  return options;
}
/// A row of a plan that is made by hand: tokens [computed, computed + tokens) of one of two texts, and what its
/// lane has of them.
struct KeptRow {
  std::size_t text;
  std::int64_t computed, tokens;
  std::vector<std::uint32_t> blocks;
  std::vector<std::uint32_t> slots;  // of its positions
  std::int32_t draws = 0;
};
struct KeptStep {
  std::vector<retention::SlotMove> moves;
  std::vector<BlockSwap> out, in;
  std::vector<KeptRow> rows;
};
/// What is drawn, token and log-probability.
template <class Executor>
std::vector<Draw> drawn_of_kept(const std::vector<KeptStep>& steps) {
  using Config = Retains<retention::SlidingWindow>;
  const auto options = retaining_options<Executor>("llama", few_tokens);
  auto bound = quire::detail::bind_executor<Config, Executor>(
      options, Executor::template geometry<Config>(options));
  const std::vector<TokenId> texts[] = {{5, 17, 90, 33, 61, 8}, {70, 2, 44, 19, 26, 81}};
  SamplingParams greedy;
  greedy.temperature = 0;
  greedy.logprobs = 0;
  std::vector<Draw> all;
  StepPlan plan;
  StepResult result;
  for (const KeptStep& step : steps) {
    plan.clear();
    plan.slot_moves = step.moves;
    plan.swap_out = step.out;
    plan.swap_in = step.in;
    std::vector<BlockTable> tables(step.rows.size());
    std::vector<retention::Lane> lanes(step.rows.size());
    for (std::size_t i = 0; i < step.rows.size(); ++i) {
      const KeptRow& r = step.rows[i];
      for (const std::uint32_t b : r.blocks) tables[i].append(BlockId{b});
      for (const std::uint32_t slot : r.slots) {
        lanes[i].entries.push_back({std::ssize(lanes[i].entries), slot});
        lanes[i].tail = std::max(lanes[i].tail, slot + 1);
      }
      SequencePlan s;
      s.sequence = SequenceId{r.text};
      s.computed = r.computed;
      s.tokens = r.tokens;
      s.prompt_tokens = 6;
      s.history = texts[r.text];
      s.tables = {&tables[i], 1};
      s.lanes = {&lanes[i], 1};
      s.sampling = &greedy;
      s.draws = r.draws;
      plan.sequences.push_back(s);
    }
    bound.execute(plan, result);
    all.insert(all.end(), result.draws.begin(), result.draws.end());
    ++plan.step;
  }
  return all;
}
/// A slot that is moved into a block on its way out, and one that is moved as its blocks leave.
TEST(CudaRetention, SlotsMoveBetweenBlocksThatLeave) {
  using simt::emulator::Order;
  const auto swap = [](std::uint32_t device, std::uint32_t host) {
    return BlockSwap{BlockId{device}, BlockId{host}};
  };
  const std::vector<KeptStep> steps = {
      {{}, {}, {}, {{0, 0, 4, {0}, {0, 1, 2, 3}}, {1, 0, 4, {1}, {0, 1, 2, 3}}}},
      // nobody waits for the first text's block, which the second one then moves a token into
      {{}, {swap(0, 0)}, {}, {{1, 4, 1, {1, 2}, {0, 1, 2, 3, 4}}}},
      {{{0, 1, 2, 0, 1}}, {}, {}, {{1, 5, 1, {1, 2, 0}, {0, 1, 9, 3, 4, 5}, 1}}},
      {{}, {}, {swap(7, 0)}, {{0, 4, 1, {7, 8}, {0, 1, 2, 3, 4}}}},
      {{{0, 7, 0, 8, 2}}, {swap(7, 1), swap(8, 2)}, {}, {{1, 0, 4, {3}, {0, 1, 2, 3}}}},
      {{},
       {},
       {swap(4, 1), swap(5, 2)},
       {{0, 5, 1, {4, 5}, {6, 1, 2, 3, 4, 5}, 1}, {1, 4, 1, {3, 6}, {0, 1, 2, 3, 4}, 1}}}};
  const auto cpu = drawn_of_kept<Cpu>(steps);
  ASSERT_EQ(cpu.size(), 3u);
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = 3});
    const auto cuda = drawn_of_kept<Retaining>(steps);
    ASSERT_EQ(cuda.size(), cpu.size());
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      EXPECT_EQ(cuda[i].token, cpu[i].token);
      EXPECT_NEAR(cuda[i].logprob, cpu[i].logprob, 1e-4f) << "draw " << i;
    }
  }
}

/// Both executors run the same plans: votes and counts of each, and not only what policies make of them.
/// Steps in which nobody votes bring nothing back and launch nothing.
template <class Policy>
void expect_the_same_said(const std::string& model, const RetentionLimits& retention) {
  using Config = Retains<Policy>;
  const auto options = retaining_options<Retaining>(model, retention);
  const auto cpu_options = retaining_options<Cpu>(model, retention);
  const KvGeometry geometry = Retaining::geometry<Config>(options);
  Retaining::Bound<Config> cuda(options, geometry);
  auto cpu =
      quire::detail::bind_executor<Config, Cpu>(cpu_options, Cpu::geometry<Config>(cpu_options));
  std::uint64_t expected = 0, silent = 0;
  std::int64_t held = 0;
  StepResult theirs;
  const auto execute = [&](const StepPlan& plan, StepResult& ours) {
    const std::uint64_t before = launched("attention_votes");
    cpu.execute(plan, theirs);
    cuda.execute(plan, ours);
    EXPECT_EQ(ours.pages_read, theirs.pages_read);
    EXPECT_EQ(ours.pages_held, theirs.pages_held);
    held += theirs.pages_held;
    ASSERT_EQ(ours.votes_begin, theirs.votes_begin);
    ASSERT_EQ(ours.votes.size(), theirs.votes.size());
    bool asked = false;
    for (std::size_t i = 0; i < theirs.votes.size(); ++i) {
      // each query's weight is a whole number of parts
      EXPECT_NEAR(static_cast<double>(ours.votes[i]), static_cast<double>(theirs.votes[i]), 64);
      asked = asked || theirs.votes[i] != 0;
    }
    if (asked) {
      expected += 8 * theirs.votes.size();
    } else {
      EXPECT_EQ(launched("attention_votes"), before);
      ++silent;
    }
    EXPECT_EQ(cuda.fetched_bytes(), expected);
  };
  const device::Log log =
      device::play<Config>({options.model.config.shape, options.limits, geometry, execute}, [] {});
  EXPECT_EQ(log.records, 10u);
  if constexpr (requires { typename Policy::Votes; }) {
    EXPECT_GT(expected, 1000u);
    if (std::is_same_v<Policy, retention::SnapKv>) {
      EXPECT_GT(silent, 10u);
    }
  } else {
    EXPECT_GT(held, 100);
  }
}
TEST(CudaRetention, StepsSayWhatTheCpuExecutorsSay) {
  expect_the_same_said<retention::H2O>("llama", few_tokens);
  expect_the_same_said<retention::Tova>("qwen3", few_tokens);
  expect_the_same_said<retention::SnapKv>("qwen3", few_tokens);
  expect_the_same_said<retention::SnapKv>("opt", few_tokens);
  // every layer chooses, and as many KV heads as heads
  RetentionLimits limits = few_tokens;
  limits.dense_layers = 0;
  expect_the_same_said<retention::Quest>("llama", limits);
  expect_the_same_said<retention::Quest>("opt", limits);
}

template <class Policy>
void expect_refusal(const std::string& model, const char* why) {
  try {
    (void)retain<Retains<Policy>, Retaining>(model, 40);
    ADD_FAILURE() << model << " is not refused";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr(why));
  }
}
TEST(CudaRetention, RefusesWhatTheCpuExecutorRefuses) {
  expect_refusal<retention::H2O>("qwen2_window", "layers with a sliding window of their own");
  expect_refusal<retention::Quest>("qwen2_window", "layers with a sliding window of their own");
  expect_refusal<retention::StreamingLlm>("opt", "re-assigns positions, and the model's are not");
}

}  // namespace
}  // namespace quire::executor
