// Which tokens a policy keeps follows from attention; how many, and so every decision about blocks and
// batches, does not: simulated time makes the same ones as the executor that attends for real.
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/executor/timed.hpp>
#include <quire/presets/presets.hpp>
#include <quire/retention/retention.hpp>

#include "tests/common/checkpoints.hpp"

namespace quire::engine_test {
namespace {

template <class Policy>
struct Kept : presets::Vllm {
  static constexpr std::string_view name = "kept";
  using Retention = Policy;
  using BlockSize = quire::BlockSize<4>;
};

workload::Workload requests() {
  workload::Workload w;
  w.name = "short";
  Rng rng(7);
  double now = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    Request r;
    now += rng.exponential(2e-5);
    r.arrival = now;
    r.prompt_length = static_cast<std::int64_t>(1 + rng.below(40));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(24));
    r.sampling.max_tokens = *r.output_length;
    r.sampling.seed = i;
    w.requests.push_back(std::move(r));
  }
  return w;
}

struct Log {
  std::vector<std::uint64_t> decisions;
  Report report;
};
template <class AnEngine>
Log play(AnEngine& engine) {
  Log log;
  ReplayOptions options;
  options.keep_steps = true;
  options.on_step = [&](const StepStats&, Seconds) {
    log.decisions.push_back(engine.decision_hash());
  };
  log.report = replay(engine, requests(), options);
  return log;
}

template <class Policy>
class RetentionDecisions : public ::testing::Test {};
using Policies = ::testing::Types<retention::StreamingLlm, retention::H2O, retention::PyramidKv>;
TYPED_TEST_SUITE(RetentionDecisions, Policies);

TYPED_TEST(RetentionDecisions, AreTheSameOnTheCpuAndInSimulatedTime) {
  using C = Kept<TypeParam>;
  // what is generated all stays under pyramid_kv
  constexpr std::int64_t blocks = std::is_base_of_v<retention::SnapKv, TypeParam> ? 60 : 18;
  auto checkpoint = testing::opened(std::string(QUIRE_SOURCE_DIR) + "/tests/golden/models/llama");
  const model::Shape shape = checkpoint.config.shape;
  const StorageCost storage = storage_cost<C>(shape);
  executor::Simulated::Options simulated{.model = shape, .hardware = hardware::a10g};
  simulated.limits.retention = {.budget = 8, .sinks = 2, .observation = 4, .pyramid_slope = 4};
  simulated.memory.kv_bytes =
      static_cast<std::int64_t>(storage.kv_block_bytes * static_cast<double>(blocks));
  simulated.memory.host_bytes = static_cast<std::int64_t>(storage.kv_block_bytes * 24);
  Engine<C, executor::Simulated> in_simulation(simulated);
  const Log expected = play(in_simulation);
  ASSERT_EQ(expected.report.records.size(), 200u);
  EXPECT_GT(expected.report.counters.preemptions, 0) << "the pool is too large to test anything";

  using Timed = executor::Timed<executor::Cpu>;
  typename Timed::Options real;
  real.model = std::move(checkpoint);
  real.limits = simulated.limits;
  real.device_blocks = blocks;
  real.host_blocks = 24;
  real.wrap_tokens = true;
  real.poison = true;
  real.seconds = std::make_shared<const std::vector<double>>(expected.report.step_seconds);
  Engine<C, Timed> on_cpu(real);
  const Log log = play(on_cpu);
  ASSERT_EQ(log.decisions.size(), expected.decisions.size());
  for (std::size_t i = 0; i < log.decisions.size(); ++i) {
    ASSERT_EQ(log.decisions[i], expected.decisions[i]) << "step " << i;
  }
}

}  // namespace
}  // namespace quire::engine_test
