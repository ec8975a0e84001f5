// The CUDA executor on the emulator against the CPU executor: the same engine, the same decisions,
// the same greedy tokens.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kernels/device/play.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/model/tensor_parallel.hpp>
#include <quire/offload/overlapped_swap.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/simt/streams.cuh>
#include <quire/speculation/draft_model.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/fp16.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <quire/weight_format/sparse_24.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"
#include "tests/common/temp_file.hpp"
#include "tests/kernels/plans_by_hand.hpp"

namespace quire::executor {
namespace {

using namespace testing;

/// x += what another rank had there the last time; what this one has is kept for that rank.
struct AddTheirs {
  struct Params {
    float* x;             // (count)
    float* mine;          // (count)
    const float* theirs;  // (count)
    std::uint32_t count;
  };
  static constexpr std::string_view name = "add_theirs";
  static constexpr unsigned threads = 32;
  static void run(const Params& p) {
    const unsigned i = simt::block().x * threads + simt::thread();
    if (i >= p.count) return;
    p.mine[i] = p.x[i];
    p.x[i] += p.theirs[i];
  }
};
/// One of two ranks that run every step in turns, again and again: what is added is what the other had
/// the time before. The n-th sum of a step is so right from the n-th time on, once those before it are.
/// Without another it is alone.
class InTurns {
 public:
  static constexpr std::string_view name = "in_turns";
  using Sums = std::vector<simt::DeviceArray<float>>;  // what a rank had at each sum of a step

  InTurns() = default;
  InTurns(Sums* mine, Sums* theirs) : mine_(mine), theirs_(theirs) {}

  void sum(float* x, std::size_t count, simt::Stream stream) {
    if (mine_ == nullptr) return;
    const std::size_t i = next_++ % mine_->size();
    ASSERT_LE(count, (*mine_)[i].size());
    simt::launch<AddTheirs>(
        {{static_cast<unsigned>((count + AddTheirs::threads - 1) / AddTheirs::threads)}},
        {x, (*mine_)[i].data(), (*theirs_)[i].data(), static_cast<std::uint32_t>(count)}, stream);
  }

 private:
  Sums* mine_ = nullptr;
  Sums* theirs_ = nullptr;
  std::size_t next_ = 0;
};
static_assert(Communicator<InTurns>);

using OnEmulator = ParallelCuda<float, kernels::LoopProduct, InTurns, 8, 16>;
using Halves = BasicCuda<Fp16, kernels::LoopProduct, 16>;

using device::Log;

template <class Preset, class Executor>
Log play(
    const std::string& model, std::int64_t blocks, const std::function<void()>& made = [] {},
    std::int64_t chunk = 16) {
  return device::play<Preset, Executor>(
      std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models", model, blocks, made, chunk);
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

/// Learned positions, norms with a mean, biases, an MLP without a gate.
TEST(CudaExecutor, EqualsTheCpuExecutorOnModelsBeforeLlama) {
  expect_equal<presets::Vllm>("opt", 9, true);
  expect_equal<presets::OrcaMax>("gpt2", 60, false);
  expect_equal<presets::Sarathi>("gpt2", 8, true);
}

/// As opt-350m: norms behind what they norm, none at the end, and an embedding half as wide as the layers.
TEST(CudaExecutor, EqualsTheCpuExecutorOnNormsBehindAndNarrowEmbeddings) {
  expect_equal<presets::Vllm>("opt_post_norm", 9, true);
  expect_equal<presets::Sarathi>("opt_post_norm", 8, true);
}

/// The second in 16 bits, whose experts matrix units multiply.
TEST(CudaExecutor, EqualsTheCpuExecutorOnMixturesOfExperts) {
  expect_equal<presets::Vllm>("mixtral", 9, true);
  expect_equal<presets::Sarathi>("qwen3_moe", 8, true);
  const Log cpu = play<presets::Vllm, Cpu>("qwen3_moe", 40);
  const Log halves = play<presets::Vllm, Halves>("qwen3_moe", 40);
  EXPECT_EQ(halves.decisions, cpu.decisions);
  ASSERT_EQ(halves.tokens.size(), cpu.tokens.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < cpu.tokens.size(); ++i) equal += halves.tokens[i] == cpu.tokens[i];
  EXPECT_GE(equal * 100, cpu.tokens.size() * 90) << equal << " of " << cpu.tokens.size();
}

struct Guessing : presets::Vllm {
  static constexpr std::string_view name = "vllm+speculation";
  using Speculation = speculation::BasicPromptLookup<4, 3, 1>;
};
/// Drafts that hold and drafts that do not, of sequences with penalties too.
TEST(CudaExecutor, DraftsHoldAsOnTheCpuExecutor) {
  for (const std::string model : {"opt", "qwen3"}) {
    expect_equal<Guessing>(model, 40, false);
    const Log plain = play<presets::Vllm, OnEmulator>(model, 40);
    const Log guessing = play<Guessing, OnEmulator>(model, 40);
    EXPECT_GT(guessing.counters.drafted_tokens.value, guessing.counters.accepted_tokens.value);
    EXPECT_GT(guessing.counters.accepted_tokens.value, 10) << model;
    EXPECT_LT(guessing.decisions.size(), plain.decisions.size()) << model;
    EXPECT_EQ(guessing.tokens.size(), plain.tokens.size()) << model;
  }
}

struct GuessingByModel : presets::Vllm {
  static constexpr std::string_view name = "vllm+draft_model";
  using Speculation = speculation::BasicDraftModel<3>;
};
template <class Executor>
Log play_with_drafts(const std::string& draft) {
  const auto opened = [](const std::string& name) {
    return checkpoint::open_checkpoint(
        (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models" / name).string());
  };
  typename Executor::Options options;
  options.model = opened("llama");
  options.draft_model = opened(draft);
  options.limits.max_batch = 6;
  options.device_blocks = 40;
  options.poison = true;
  const KvGeometry geometry = Executor::template geometry<GuessingByModel>(options);
  auto steps = quire::detail::bind_executor<GuessingByModel, Executor>(options, geometry);
  return device::play<GuessingByModel>(
      {Executor::shape(options),
       options.limits,
       geometry,
       [&steps](const StepPlan& plan, StepResult& result) { steps.execute(plan, result); },
       {}},
      [] {});
}
/// The model itself is always right, but where penalties are; another seldom; texts stay what they are.
TEST(CudaExecutor, ADraftModelGuessesAsOnTheCpuExecutor) {
  for (const std::string draft : {"llama", "qwen3"}) {
    const Log cpu = play_with_drafts<Cpu>(draft), cuda = play_with_drafts<OnEmulator>(draft);
    EXPECT_EQ(cuda.tokens, cpu.tokens);
    EXPECT_EQ(cuda.decisions, cpu.decisions);
    EXPECT_EQ(cuda.counters.drafted_tokens, cpu.counters.drafted_tokens);
    EXPECT_EQ(cuda.counters.accepted_tokens, cpu.counters.accepted_tokens);
    EXPECT_GT(cpu.counters.drafted_tokens, Tokens{50});
    if (draft == "llama") {
      EXPECT_GT(2 * cpu.counters.accepted_tokens, cpu.counters.drafted_tokens);
    }
  }
}

/// Blocks that come are waited for layer by layer.
struct Swapping : presets::Vllm {
  static constexpr std::string_view name = "vllm+overlapped_swap";
  using Offload = offload::OverlappedSwap;
};

/// Chunks of prompts alone draw no token, and nobody waits for them before the next step's swaps. Blocks that
/// come are waited for whole.
struct SwappingChunks : presets::Sarathi {
  static constexpr std::string_view name = "sarathi+swap_to_host";
  using Offload = offload::SwapToHost;
};

TEST(CudaExecutor, SwapsBesideStepsThatDrawNothingInEveryOrder) {
  using simt::emulator::Order;
  const std::int64_t blocks = 4, chunk = 5;  // several steps of a prompt one after the other
  const Log cpu = play<SwappingChunks, Cpu>(
      "llama", blocks, [] {}, chunk);
  ASSERT_GT(cpu.counters.swapped_out_blocks.value, 5);
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = 5});
    simt::emulator::Device& device = simt::emulator::device();
    std::uint64_t waits = 0;  // from when the weights are there
    const Log cuda = play<SwappingChunks, OnEmulator>(
        "llama", blocks, [&] { waits = device.waits; }, chunk);
    EXPECT_EQ(cuda.tokens, cpu.tokens);
    EXPECT_EQ(cuda.decisions, cpu.decisions);
    EXPECT_LT(device.waits - waits, cpu.decisions.size());  // some step drew nothing
  }
}

// Whatever order streams and events allow gives the CPU executor's tokens: no event is missing.
TEST(CudaExecutor, StreamsRunInEveryOrderThatEventsAllow) {
  using simt::emulator::Order;
  const std::int64_t blocks = 4;
  const Log cpu = play<Swapping, Cpu>("llama", blocks);
  ASSERT_GT(cpu.counters.swapped_out_blocks.value, 10);
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = 3});
    simt::emulator::Device& device = simt::emulator::device();
    const std::uint64_t replays = device.replays;
    std::uint64_t waits = 0;  // from when the weights are there
    const Log cuda = play<Swapping, OnEmulator>("llama", blocks, [&] { waits = device.waits; });
    EXPECT_EQ(cuda.tokens, cpu.tokens);
    EXPECT_EQ(cuda.decisions, cpu.decisions);
    EXPECT_GT(device.replays - replays, cpu.decisions.size() / 4);
    EXPECT_LE(device.waits - waits, cpu.decisions.size());  // for drawn tokens alone
  }
}

checkpoint::Checkpoint golden(const std::string& model = "llama") {
  return checkpoint::open_checkpoint(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models" / model).string());
}
void expect_alike_in_every_order(const std::vector<HandStep>& steps, std::size_t draws) {
  using simt::emulator::Order;
  const auto cpu = drawn_by_hand<Cpu, Swapping>(steps, golden());
  ASSERT_EQ(cpu.size(), draws);
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = 7});
    const auto cuda = drawn_by_hand<OnEmulator, Swapping>(steps, golden());
    expect_close(cuda, cpu, 1e-4f);
  }
}
/// Log-probabilities too; and norms before with none at the end.
TEST(CudaExecutor, NormsBehindOrNoneAtTheEndComeCloseToTheCpuExecutors) {
  const std::vector<HandStep> steps = {{{}, {}, {{0, 0, 20, {0, 1}, 1}, {1, 0, 5, {2}}}},
                                       {{}, {}, {{0, 20, 1, {0, 1}, 1}, {1, 5, 3, {2}, 1}}},
                                       {{}, {}, {{0, 21, 1, {0, 1}, 1}, {1, 8, 1, {2}, 1}}}};
  const checkpoint::Checkpoint model = golden("opt_post_norm");
  expect_close(drawn_by_hand<OnEmulator, Swapping>(steps, model),
               drawn_by_hand<Cpu, Swapping>(steps, model), 2e-3f);
  checkpoint::Checkpoint before = golden("opt");
  before.config.final_norm = false;
  expect_close(drawn_by_hand<OnEmulator, Swapping>(steps, before),
               drawn_by_hand<Cpu, Swapping>(steps, before), 2e-3f);
}

// Chunks of prompts draw nothing, so that nobody has waited for them when their blocks leave, are given
// to another, or when a third list of moves follows.
TEST(CudaExecutor, SwapsWaitForStepsThatDrewNothing) {
  // a block leaves right after it was written, and another's chunk takes its place
  expect_alike_in_every_order(
      {{{}, {}, {{0, 0, 16, {0}}}},
       {{between(0, 3)}, {}, {{1, 0, 16, {0}}}},
       {{}, {between(1, 3)}, {{0, 16, 1, {1, 2}, 1}, {1, 16, 1, {0, 4}, 1}}}},
      2);
  // a block comes to where a chunk was written whose sequence was given up
  expect_alike_in_every_order({{{}, {}, {{0, 0, 16, {0}}}},
                               {{between(0, 2)}, {}, {{1, 0, 16, {0}, 1}}},
                               {{}, {}, {{2, 0, 16, {2}}}},
                               {{}, {between(2, 2)}, {{0, 16, 1, {2, 3}, 1}}}},
                              2);
}
/// Blocks come, and nothing else: the next step reads them.
TEST(CudaExecutor, BlocksThatComeAloneAreWaitedFor) {
  expect_alike_in_every_order({{{}, {}, {{0, 0, 16, {0}}}},
                               {{between(0, 3)}, {}, {{1, 0, 16, {0}}}},
                               {{}, {between(1, 3)}, {}},
                               {{}, {}, {{0, 16, 1, {1, 2}, 1}, {1, 16, 1, {0, 4}, 1}}}},
                              2);
}
TEST(CudaExecutor, ListsOfMovesWaitForEachOther) {
  expect_alike_in_every_order(
      {{{}, {}, {{0, 0, 16, {0}}, {1, 0, 16, {1}}, {2, 0, 16, {2}}, {3, 0, 16, {9}}}},
       {{between(0, 0)}, {}, {{4, 0, 16, {3}}}},
       {{between(1, 1)}, {}, {{4, 16, 16, {3, 4}}}},
       {{between(2, 2)}, {}, {{4, 32, 16, {3, 4, 5}}}},
       {{between(9, 3)}, {}, {{4, 48, 16, {3, 4, 5, 6}}}},
       {{}, {between(0, 2)}, {{4, 64, 4, {3, 4, 5, 6, 7}}}},
       {{}, {between(1, 0)}, {{4, 68, 4, {3, 4, 5, 6, 7}}}},
       {{}, {between(2, 3)}, {{4, 72, 4, {3, 4, 5, 6, 7}}}},
       {{},
        {between(8, 1)},
        {{0, 16, 1, {1, 9}, 1},
         {1, 16, 1, {8, 10}, 1},
         {2, 16, 1, {0, 11}, 1},
         {4, 76, 1, {3, 4, 5, 6, 7}, 1}}}},
      4);
}

// Sequences that begin with the same blocks attend to those together; others, and prompts, stay alone.
TEST(CudaExecutor, SharedPrefixesAreAttendedToTogether) {
  const std::vector<HandStep> steps = {{{}, {}, {{0, 0, 48, {0, 1, 2}, 1}, {4, 0, 20, {9, 10}, 1}}},
                                       {{},
                                        {},
                                        {{0, 48, 1, {0, 1, 2, 3}, 1},
                                         {1, 32, 1, {0, 1, 4}, 1},  // goes on in its own way
                                         {4, 20, 1, {9, 10}, 1},
                                         {3, 0, 9, {11}, 1},
                                         {2, 32, 1, {0, 1, 5}, 1}}}};
  const auto cpu = drawn_by_hand<Cpu, Swapping>(steps, golden("qwen3"));
  auto& launches = simt::emulator::device().launches;
  for (const std::int64_t from : {0, 16, 48}) {
    const std::uint64_t before = launches["shared_prefix"];
    const auto cuda = drawn_by_hand<Halves, Swapping>(steps, golden("qwen3"), from);
    EXPECT_EQ(launches["shared_prefix"] > before, from == 16) << "from " << from;
    expect_close(cuda, cpu, 0.01f);
  }
}

/// A device with products of warpgroups until the end of the scope.
struct ScopedWarpgroups {
  ScopedWarpgroups() { simt::emulator::device_has_warpgroups() = true; }
  ~ScopedWarpgroups() { simt::emulator::device_has_warpgroups() = false; }
};
// Prompts, chunks of them and rows of one token: what either prefill kernel leaves leads to the same
// draws, and the device says which one runs.
TEST(CudaExecutor, PrefillByWarpgroupsDrawsTheSame) {
  using Wide = BasicCuda<Fp16, kernels::LoopProduct, 16, 64>;
  const TempDir folder;
  const checkpoint::Checkpoint model = four_bit_model(folder);
  const std::vector<HandStep> steps = {
      {{}, {}, {{0, 0, 20, {0, 1}, 1}, {1, 0, 40, {2, 3, 4}, 1}}},
      {{}, {}, {{0, 20, 9, {0, 1}, 1}, {1, 40, 1, {2, 3, 4}, 1}, {3, 0, 2, {5}, 1}}},
      {{}, {}, {{0, 29, 1, {0, 1}, 1}, {1, 41, 6, {2, 3, 4}, 1}}}};
  auto& launches = simt::emulator::device().launches;
  const auto draw = [&](PrefillPath path, bool expected) {
    auto options = options_by_hand<Wide>(model);
    options.prefill = path;
    Wide::Bound<presets::Vllm> bound(options, geometry_by_hand);
    EXPECT_EQ(bound.prefill_kernel(), expected ? "warpgroup_prefill" : "paged_prefill");
    const std::uint64_t before = launches["warpgroup_prefill"], others = launches["paged_prefill"];
    auto drawn = drawn_by(steps, [&](const StepPlan& p, StepResult& r) { bound.execute(p, r); });
    // two layers of each step
    EXPECT_EQ(launches["warpgroup_prefill"] - before, expected ? 6u : 0u);
    EXPECT_EQ(launches["paged_prefill"] - others, expected ? 0u : 6u);
    return drawn;
  };
  const auto by_matrix = draw(PrefillPath::by_device, false);
  ASSERT_EQ(by_matrix.size(), 7u);
  EXPECT_THROW(draw(PrefillPath::warpgroups, true), Error);
  const ScopedWarpgroups device;
  expect_close(draw(PrefillPath::by_device, true), by_matrix, 0.005f);
  expect_close(draw(PrefillPath::warpgroups, true), by_matrix, 0.005f);
  expect_close(draw(PrefillPath::matrix, false), by_matrix, 0);
  // of heads of 16 dimensions there is no such kernel
  auto options = options_by_hand<Wide>(golden("qwen3"));
  EXPECT_EQ((Wide::Bound<presets::Vllm>(options, geometry_by_hand).prefill_kernel()),
            "paged_prefill");
  options.prefill = PrefillPath::warpgroups;
  try {
    Wide::Bound<presets::Vllm> bound(options, geometry_by_hand);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("no such kernel for these keys and values"));
  }
}

// One way of finding them: the CPU executor's groups are the CUDA executor's, those of a tree of beginnings
// too, and whoever is in the midst of a prompt is no hindrance.
TEST(CudaExecutor, FindsTheSharedPrefixesThatTheCpuExecutorFinds) {
  const std::vector<HandStep> steps = {
      {{}, {}, {{0, 0, 64, {0, 1, 2, 3}, 1}}},
      {{},
       {},
       {{1, 32, 32, {0, 1, 4, 5}, 1}, {2, 16, 32, {0, 6, 7}, 1}, {0, 64, 1, {0, 1, 2, 3, 8}, 1}}},
      {{},
       {},
       {{0, 65, 1, {0, 1, 2, 3, 8}, 1},
        {2, 48, 1, {0, 6, 7, 10}, 1},
        {0, 64, 1, {0, 1, 2, 3, 11}, 1},
        {2, 48, 1, {0, 6, 7, 9}, 1}}},
      {{},
       {},
       {{1, 64, 1, {0, 1, 4, 5, 9}, 1}, {3, 16, 3, {0, 10}, 1}, {0, 66, 1, {0, 1, 2, 3, 8}, 1}}}};
  // members of each group, and how many blocks they share
  using Found = std::vector<std::vector<std::vector<std::size_t>>>;
  const auto find = [&steps](auto& bound) {
    Found found;
    const auto drawn = drawn_by(steps, [&](const StepPlan& plan, StepResult& result) {
      bound.execute(plan, result);
      const attention::SharedPrefixes& shared = bound.shared_prefixes();
      auto& groups = found.emplace_back();
      for (const attention::SharedPrefixes::Group& g : shared.groups()) {
        const auto members = shared.members(g);
        groups.emplace_back(members.begin(), members.end()).push_back(g.blocks);
      }
    });
    return std::pair(found, drawn);
  };
  auto options = options_by_hand<Halves>(golden("qwen3"));
  options.share_from = 16;
  Cpu::Bound<Swapping> cpu(options_by_hand<Cpu>(golden("qwen3")), geometry_by_hand);
  Halves::Bound<Swapping> cuda(options, geometry_by_hand);
  const auto [theirs, expected] = find(cpu);
  const std::uint64_t before = simt::emulator::device().launches["shared_prefix"];
  const auto [ours, drawn] = find(cuda);
  EXPECT_EQ(theirs, (Found{{}, {{2, 0, 1, 1}}, {{0, 2, 4}, {3, 1, 3}}, {{2, 0, 1, 1}}}));
  EXPECT_EQ(ours, theirs);
  expect_close(drawn, expected, 0.01f);
  // two layers of the third step, and of the fourth: the second has one sequence beside its prompts
  EXPECT_EQ(simt::emulator::device().launches["shared_prefix"] - before, 4u);
}

TEST(CudaExecutor, RanksAddUpToTheWholeModel) {
  const std::vector<HandStep> steps = {{{}, {}, {{0, 0, 16, {0}, 1}, {1, 0, 5, {1}, 1}}},
                                       {{}, {}, {{0, 16, 1, {0, 2}, 1}, {1, 5, 3, {1}, 1}}},
                                       {{}, {}, {{0, 17, 1, {0, 2}, 1}, {1, 8, 1, {1}, 1}}},
                                       {{}, {}, {{0, 18, 1, {0, 2}, 1}, {1, 9, 1, {1}, 1}}},
                                       {{}, {}, {{0, 19, 1, {0, 2}, 1}, {1, 10, 1, {1}, 1}}}};
  for (const char* name : {"qwen3", "qwen2", "llama_bias"}) {
    const checkpoint::Checkpoint model = golden(name);
    const auto cpu = drawn_by_hand<Cpu, Swapping>(steps, model);
    const auto adds = static_cast<std::size_t>(2 * model.config.shape.layers);
    InTurns::Sums sums[2];
    std::optional<OnEmulator::Bound<Swapping>> ranks[2];
    for (std::size_t i = 0; i < 2; ++i) {
      const std::vector<float> none(64 * static_cast<std::size_t>(model.config.shape.hidden));
      for (std::size_t n = 0; n < adds; ++n) sums[i].emplace_back(std::span<const float>(none));
      auto options =
          options_by_hand<OnEmulator>(model::share_of_rank(model, static_cast<std::int64_t>(i), 2));
      options.ranks = InTurns(&sums[i], &sums[1 - i]);
      ranks[i].emplace(options, geometry_by_hand);
    }
    const std::uint64_t replays = simt::emulator::device().replays;
    StepResult other;
    const auto drawn = drawn_by(steps, [&](const StepPlan& plan, StepResult& result) {
      for (std::size_t turn = 0; turn <= adds; ++turn) {
        ranks[0]->execute(plan, result);
        ranks[1]->execute(plan, other);
      }
      expect_close(other.draws, result.draws, 0);
    });
    // halves of a sum round otherwise, and keys and values of 16 bits then do, here and there
    expect_close(drawn, cpu, 5e-3f);
    EXPECT_GT(simt::emulator::device().replays, replays);
  }
}

// The candidates of beams are found where the logits are, and only they come back.
TEST(CudaExecutor, BeamsAreDrawnOnTheDevice) {
  const std::vector<HandStep> steps = {
      {{}, {}, {{0, 0, 16, {0}, 6, 3}, {1, 0, 5, {1}, 1}}},
      {{}, {}, {{0, 16, 1, {0, 2}, 6, 3}, {0, 16, 1, {0, 3}, 4, 3}, {2, 0, 3, {4}, 120, 3}}},
  };
  const auto cpu = drawn_by_hand<Cpu, Swapping>(steps, golden());
  ASSERT_EQ(cpu.size(), 6u + 1 + 6 + 4 + 120);
  std::uint64_t& launches = simt::emulator::device().launches["top_logprobs"];
  const std::uint64_t before = launches;
  expect_close(drawn_by_hand<OnEmulator, Swapping>(steps, golden()), cpu, 1e-4f);
  EXPECT_EQ(launches - before, 2u);
}

/// Keys and values in 4 bits, and the layers' weights in 4 bits with 16-bit activations.
template <class Kv>
struct FourBits : Swapping {
  static constexpr std::string_view name = "vllm+swap_to_host+4_bits+w4a16";
  using KvFormat = Kv;
  using WeightFormat =
      weight_format::LinearOnly<weight_format::Int4Grouped<32>, weight_format::Fp16>;
};
template <class Kv>
void check_four_bits(const char* decode) {
  const TempDir folder;
  using Executor = BasicCuda<Fp16, kernels::LoopProduct, 64>;
  auto& launches = simt::emulator::device().launches;
  for (const char* kernel : {"paged_prefill", decode, "shared_prefix", "grouped_product"}) {
    launches[kernel] = 0;
  }
  expect_close(drawn_by_hand<Executor, FourBits<Kv>>(four_bit_steps(), four_bit_model(folder), 16),
               four_bit_draws<Kv>, 0.01f);
  EXPECT_EQ(launches["paged_prefill"], 2u * 2);  // two steps with prompts, two layers
  EXPECT_GT(launches[decode], 0u);
  EXPECT_GT(launches["shared_prefix"], 0u);
  EXPECT_GT(launches["grouped_product"], 0u);
}
TEST(CudaExecutor, FourBitsOfKeysValuesAndWeights) {
  check_four_bits<kv_format::Int4PerTokenHead>("paged_decode_packed");
}
TEST(CudaExecutor, FourBitsWithAScaleForEachFew) {
  check_four_bits<kv_format::Mxfp4>("paged_decode_grouped");
  check_four_bits<kv_format::Nvfp4>("paged_decode_grouped");
  check_four_bits<kv_format::Int4Grouped<32>>("paged_decode_grouped");
}

template <class Linear>
struct InBf16 : presets::Vllm {
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::LinearOnly<Linear, weight_format::Bf16>;
};
/// A model whose layers lost two of each four weights before, multiplied densely, and one that loses them as
/// it is loaded. Sums are in another order, which may turn a token here and there.
TEST(CudaExecutor, SparseWeightsAreThoseThatPruningLeaves) {
  const TempDir folder;
  checkpoint::Checkpoint model = testing::opened(QUIRE_SOURCE_DIR "/tests/golden/models/qwen3");
  checkpoint::TensorList list;
  list.keep(model.tensors);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    if (t.name.find("_proj.weight") == std::string::npos) {
      list.add(t);
      continue;
    }
    std::vector<float> w(static_cast<std::size_t>(t.shape[0] * t.shape[1]));
    checkpoint::read_floats(t, 0, w);
    for (std::size_t i = 0; i < w.size(); i += 4) {
      const std::span four(&w[i], 4);
      for (int dropped = 0; dropped < 2; ++dropped) {  // the last of the smallest that are left
        std::size_t least = 4;
        for (std::size_t k = 0; k < 4; ++k) {
          if (four[k] == 0) continue;
          if (least == 4 || std::abs(four[k]) <= std::abs(four[least])) least = k;
        }
        if (least < 4) four[least] = 0;
      }
    }
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape[0], t.shape[1]}, w);
  }
  checkpoint::Checkpoint pruned = model;
  pruned.tensors = list.set("pruned");
  checkpoint::save_checkpoint(pruned, folder.path() / "pruned");
  using Executor = BasicCuda<Bf16, kernels::LoopProduct, 16>;
  const Log dense = device::play<InBf16<weight_format::Bf16>, Executor>(
      folder.path(), "pruned", 40, [] {}, 16);
  const std::uint64_t before = simt::emulator::device().launches["sparse_product"];
  const Log sparse = play<InBf16<weight_format::Sparse24>, Executor>("qwen3", 40);
  EXPECT_GT(simt::emulator::device().launches["sparse_product"] - before, 100u);
  EXPECT_EQ(sparse.decisions, dense.decisions);
  ASSERT_EQ(sparse.tokens.size(), dense.tokens.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < dense.tokens.size(); ++i) {
    equal += sparse.tokens[i] == dense.tokens[i];
  }
  EXPECT_GE(equal * 100, dense.tokens.size() * 90) << equal << " of " << dense.tokens.size();
  const Log whole = play<InBf16<weight_format::Bf16>, Executor>("qwen3", 40);
  EXPECT_NE(whole.tokens, dense.tokens) << "pruning changes nothing here";
}

struct ExpertsInFewBits : Swapping {
  static constexpr std::string_view name = "vllm+w4a16 experts";
  using Packed = weight_format::Int4Grouped<32>;
  using WeightFormat = weight_format::LinearOnly<Packed, weight_format::Fp16>;
};
/// A mixture whose matrices were rounded to 4 bits before, in a checkpoint of 32, and one that is rounded as it
/// is loaded, router and all; widths of experts do not fill their groups.
TEST(CudaExecutor, ExpertsInFewBitsAreThoseThatRoundingLeaves) {
  const TempDir folder;
  const checkpoint::Checkpoint model = golden("qwen3_moe");
  checkpoint::TensorList list;
  list.keep(model.tensors);
  std::size_t rounded_matrices = 0;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    if (t.shape.size() != 2 || t.name.find("layers") == std::string::npos) {
      list.add(t);
      continue;
    }
    using Packed = ExpertsInFewBits::Packed;
    const auto outputs = static_cast<std::size_t>(t.shape[0]);
    const auto inputs = static_cast<std::size_t>(t.shape[1]);
    std::vector<float> w(outputs * inputs);
    checkpoint::read_floats(t, 0, w);
    std::vector<std::byte> panel(Packed::panel_bytes(outputs, inputs));
    Packed::pack(panel.data(), outputs, inputs, w.data());
    for (std::size_t o = 0; o < outputs; ++o) {
      Packed::read(panel.data(), outputs, inputs, o, &w[o * inputs]);
    }
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape[0], t.shape[1]}, w);
    ++rounded_matrices;
  }
  EXPECT_GE(rounded_matrices, 30u);
  checkpoint::Checkpoint rounded = model;
  rounded.tensors = list.set("rounded");
  checkpoint::save_checkpoint(rounded, folder.path() / "rounded");
  const std::vector<HandStep> steps = {
      {{}, {}, {{0, 0, 20, {0, 1}, 1}, {1, 0, 37, {2, 3, 4}, 1}}},
      {{}, {}, {{0, 20, 1, {0, 1}, 1}, {1, 37, 3, {2, 3, 4}, 1}, {2, 0, 2, {5}, 1}}},
      {{}, {}, {{0, 21, 1, {0, 1}, 1}, {1, 40, 1, {2, 3, 4}, 1}}}};
  const auto plain = drawn_by_hand<Halves, Swapping>(
      steps, checkpoint::open_checkpoint((folder.path() / "rounded").string()));
  auto& launches = simt::emulator::device().launches["grouped_experts"];
  const std::uint64_t before = launches;
  const auto packed = drawn_by_hand<Halves, ExpertsInFewBits>(steps, model);
  EXPECT_EQ(launches - before,
            3u * 2);  // steps; into the experts and out, in the layer that has them
  expect_close(packed, plain, 0.01f);
  float difference = 0;
  const auto whole = drawn_by_hand<Halves, Swapping>(steps, model);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    difference = std::max(difference, std::abs(whole[i].logprob - plain[i].logprob));
  }
  EXPECT_GT(difference, 0.02f) << "rounding changes nothing here";
}

TEST(CudaExecutor, TakesItsMemoryBeforeTheFirstStep) {
  simt::emulator::Device& device = simt::emulator::device();
  std::uint64_t allocations = 0;
  play<presets::Vllm, OnEmulator>("qwen2", 40, [&] { allocations = device.allocations; });
  EXPECT_EQ(device.allocations, allocations);
  device.memory_limit = device.allocated() + 60'000;
  try {
    play<presets::Vllm, OnEmulator>("qwen2", 40);
    ADD_FAILURE() << "there is room";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("no room for another"));
  }
  device.memory_limit = std::numeric_limits<std::size_t>::max();
}

TEST(CudaExecutor, ErrorsNameCallKernelAndStep) {
  simt::emulator::Device& device = simt::emulator::device();
  std::string told;
  for (std::uint64_t call = 1; call <= 40; ++call) {
    try {
      play<presets::Vllm, OnEmulator>("qwen2", 40, [&] { device.fail_call = call; });
      ADD_FAILURE() << "call " << call << " did not fail";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), ::testing::HasSubstr(" in step "));
      told += e.what() + std::string("\n");
    }
    device.fail_call = 0;
  }
  EXPECT_THAT(told, ::testing::HasSubstr("kernel embedding in step 0: launch: told to fail"));
  EXPECT_THAT(told, ::testing::HasSubstr("kernel step data in step 0: cudaMemcpyAsync: told"));
  EXPECT_THAT(told, ::testing::HasSubstr("kernel sample in step 0: cudaStreamSynchronize: told"));
}

// With 16-bit activations prompts go through the prefill kernel; rounding may turn a token here and
// there, and with it that text's rest.
TEST(CudaExecutor, HalvesDecideAlikeAndPrefillPrompts) {
  const Log cpu = play<presets::Vllm, Cpu>("qwen3", 40);
  const std::uint64_t prefills = simt::emulator::device().launches["paged_prefill"];
  const Log cuda = play<presets::Vllm, Halves>("qwen3", 40);
  EXPECT_GT(simt::emulator::device().launches["paged_prefill"] - prefills, 10u);
  EXPECT_EQ(cuda.decisions, cpu.decisions);
  ASSERT_EQ(cuda.tokens.size(), cpu.tokens.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < cpu.tokens.size(); ++i) equal += cuda.tokens[i] == cpu.tokens[i];
  EXPECT_GE(equal * 100, cpu.tokens.size() * 90) << equal << " of " << cpu.tokens.size();
}

TEST(CudaExecutor, RefusesModelsWithoutKernels) {
  auto options = options_by_hand<OnEmulator>(golden("opt"));
  options.model.config.activation = checkpoint::Activation::gelu;
  try {
    OnEmulator::Bound<presets::Vllm> bound(options, geometry_by_hand);
    ADD_FAILURE() << "there are no kernels";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("the function of its MLP has no kernel"));
  }
}

/// Before the first step, in one sentence with file and layer.
TEST(CudaExecutor, RefusesLayersThatAreProductsOfTwo) {
  const quire::testing::TempDir folder;
  const checkpoint::Checkpoint model =
      quire::testing::opened(QUIRE_SOURCE_DIR "/tests/golden/models/qwen3");
  const std::string layer = "model.layers.1.mlp.down_proj";
  checkpoint::TensorList list;
  list.keep(model.tensors);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    if (t.name != layer + ".weight") {
      list.add(t);
      continue;
    }
    list.add(layer + ".low_rank_in", checkpoint::DType::f32, {1, t.shape[1]},
             std::vector<float>(static_cast<std::size_t>(t.shape[1])));
    list.add(layer + ".low_rank_out", checkpoint::DType::f32, {t.shape[0], 1},
             std::vector<float>(static_cast<std::size_t>(t.shape[0])));
  }
  checkpoint::Checkpoint factored = model;
  factored.tensors = list.set("factored");
  checkpoint::save_checkpoint(factored, folder.path() / "factored");
  std::string told;
  bool made = false;
  try {
    (void)device::play<presets::Vllm, OnEmulator>(folder.path(), "factored", 40,
                                                  [&] { made = true; });
  } catch (const Error& error) {
    told = error.what();
  }
  EXPECT_FALSE(made);
  EXPECT_THAT(told, ::testing::HasSubstr(layer));
  EXPECT_THAT(told,
              ::testing::HasSubstr(
                  "is stored as the product of two matrices, which this executor does not take"));
}

}  // namespace
}  // namespace quire::executor
