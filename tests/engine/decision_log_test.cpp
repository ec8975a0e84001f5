#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/executor/timed.hpp>
#include <quire/presets/presets.hpp>
#include <quire/workload/arrivals.hpp>
#include <quire/workload/provenance.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"
#include "tests/common/engines.hpp"
#include "tests/executor/plan_words.hpp"

namespace quire::testing {
namespace {

/// Short requests with n up to 3, dense enough that a pool of a few blocks must preempt and swap.
workload::Workload short_requests(std::size_t count, bool samples = true) {
  workload::Workload w;
  w.name = "short";
  Rng rng(7);
  double now = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Request r;
    now += rng.exponential(2e-5);
    r.arrival = now;
    r.prompt_length = static_cast<std::int64_t>(1 + rng.below(40));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(24));
    r.sampling.n = rng.below(8) == 0 && samples ? 3 : 1;
    r.sampling.max_tokens = *r.output_length;
    r.sampling.seed = i;
    w.requests.push_back(std::move(r));
  }
  return w;
}

using executor_test::Recording;
using Plans = std::vector<std::vector<std::uint64_t>>;

struct Log {
  std::vector<std::uint64_t> decisions;  // the running hash after each step
  std::vector<TokenId> tokens;
  Report report;
};

template <class AnEngine>
Log play(AnEngine& engine, const workload::Workload& w) {
  Log log;
  ReplayOptions options;
  options.keep_steps = true;
  options.keep_text = true;
  options.on_step = [&](const StepStats&, Seconds) {
    log.decisions.push_back(engine.decision_hash());
    for (const TokenEvent& e : engine.events()) log.tokens.push_back(e.token);
  };
  log.report = replay(engine, w, options);
  return log;
}

template <class C>
class DecisionLog : public ::testing::Test {};
using Presets =
    ::testing::Types<presets::Vllm, presets::VllmPrefixCache, presets::OrcaMax, presets::OrcaPow2,
                     presets::OrcaOracle, presets::FasterTransformer, presets::HfTransformers,
                     presets::Tgi, presets::Torchserve, presets::Sarathi>;
TYPED_TEST_SUITE(DecisionLog, Presets);

// One control plane, several executors: fed the durations of the simulated run, the executor that
// really computes makes the same decisions, step by step.
template <class C>
void compare(const workload::Workload& w, bool asynchronous) {
  using Simulated = Recording<executor::Simulated>;
  using Timed = Recording<executor::Timed<executor::Cpu>>;
  auto checkpoint = testing::opened(std::string(QUIRE_SOURCE_DIR) + "/tests/golden/models/llama");
  const model::Shape shape = checkpoint.config.shape;
  const StorageCost storage = storage_cost<C>(shape);

  Simulated::Options simulated{{.model = shape, .hardware = hardware::a10g}};
  simulated.limits.max_batch = 6;
  simulated.limits.max_delay = 1e-3;
  simulated.limits.chunk = 48;
  simulated.limits.asynchronous = asynchronous;
  simulated.memory.kv_bytes = static_cast<std::int64_t>(storage.kv_block_bytes * 40);
  simulated.memory.host_bytes = static_cast<std::int64_t>(storage.kv_block_bytes * 24);
  Engine<C, Simulated> in_simulation(simulated);
  const Log expected = play(in_simulation, w);
  ASSERT_EQ(expected.report.records.size(), w.requests.size());

  typename Timed::Options real;
  real.model = std::move(checkpoint);
  real.limits = simulated.limits;
  real.device_blocks = 40;
  real.host_blocks = 24;
  real.wrap_tokens = true;
  real.poison = true;
  real.threads = 2;
  real.seconds = std::make_shared<const std::vector<double>>(expected.report.step_seconds);
  if (C::PrefixIndex::enabled) {
    real.tokens = std::make_shared<const std::vector<TokenId>>(expected.tokens);
  }
  Engine<C, Timed> on_cpu(real);
  ASSERT_EQ(on_cpu.geometry().device_blocks, in_simulation.geometry().device_blocks);
  const Log log = play(on_cpu, w);

  // the plans themselves, block by block, and the hashes that stand for them
  const Plans &plans = *simulated.plans, &on_cpu_plans = *real.plans;
  ASSERT_EQ(on_cpu_plans.size(), plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    ASSERT_EQ(on_cpu_plans[i], plans[i]) << "step " << i;
  }
  ASSERT_EQ(log.decisions.size(), plans.size());
  ASSERT_EQ(log.decisions.size(), expected.decisions.size());
  for (std::size_t i = 0; i < log.decisions.size(); ++i) {
    ASSERT_EQ(log.decisions[i], expected.decisions[i]) << "step " << i;
  }
  EXPECT_EQ(log.report.records.size(), w.requests.size());
  if constexpr (!C::Reservation::contiguous) {
    EXPECT_GT(expected.report.counters.preemptions, 0) << "the pool is too large to test anything";
  }
}

TYPED_TEST(DecisionLog, IsTheSameOnTheCpuAndInSimulatedTime) {
  compare<TypeParam>(short_requests(1000), false);
}
TYPED_TEST(DecisionLog, IsTheSameWhenStepsArePlannedAhead) {
  if constexpr (TypeParam::Scheduler::drains) {
    GTEST_SKIP() << "batches by request are not planned ahead";
  } else {
    compare<TypeParam>(short_requests(500, /*samples=*/false), true);
  }
}

}  // namespace
}  // namespace quire::testing
