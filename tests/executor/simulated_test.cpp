#include <quire/executor/simulated.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>

#include "tests/common/engines.hpp"

namespace quire::executor_test {
namespace {

using Recomputing = with<presets::Vllm, set_offload<offload::Recompute>>;

executor::Simulated::Options options() {
  return {.model = model::llama_13b, .hardware = hardware::a100_40gb};
}

TEST(Simulated, SizesItsPoolsByTheMemoryPlan) {
  const auto inputs = executor::Simulated::inputs<presets::Vllm>(options());
  const MemoryPlan plan = plan_memory(inputs, {});
  const KvGeometry geometry = executor::Simulated::geometry<presets::Vllm>(options());
  EXPECT_EQ(geometry.device_blocks, plan.device_blocks);
  EXPECT_EQ(geometry.host_blocks, plan.host_blocks);
  EXPECT_EQ(executor::Simulated::geometry<Recomputing>(options()).host_blocks, BlockCount{0});
}

struct Outcome {
  std::vector<std::vector<float>> logprobs;  // by request, of the first sequence
  std::vector<Tokens> lengths;
  std::int64_t preemptions = 0;
};
Outcome play(std::int64_t kv_bytes, std::uint64_t seed = 0) {
  executor::Simulated::Options o = options();
  o.memory.kv_bytes = kv_bytes;
  o.seed = seed;
  Engine<Recomputing, executor::Simulated> engine(o);
  for (std::int64_t i = 0; i < 20; ++i) {
    Request r;
    r.prompt_length = 60 + 7 * i;
    r.sampling.max_tokens = 80;
    r.sampling.n = i % 4 == 0 ? 2 : 1;
    for (TokenId t = 0; t < 600; ++t) r.sampling.stop_token_ids.push_back(t);
    engine.submit(r);
  }
  while (engine.has_work()) engine.step();
  Outcome out;
  out.logprobs.resize(20);
  out.lengths.resize(20);
  for (const auto& group : engine.take_finished()) {
    out.logprobs[group->request.id.value] = group->sequences[0].logprobs;
    out.lengths[group->request.id.value] = group->sequences.back().length;
  }
  out.preemptions = engine.counters().preemptions;
  return out;
}

// What is drawn must not depend on the scheduling that an experiment varies.
TEST(Simulated, DrawsTheSameTextHoweverItIsScheduled) {
  const std::int64_t block = 16 * 819'200;
  const Outcome roomy = play(1200 * block), tight = play(60 * block);
  EXPECT_GT(tight.preemptions, 0);
  EXPECT_EQ(roomy.preemptions, 0);
  EXPECT_EQ(tight.logprobs, roomy.logprobs);
  EXPECT_EQ(tight.lengths, roomy.lengths);
  EXPECT_NE(play(1200 * block, 1).lengths, roomy.lengths) << "the seed changes nothing";
}

TEST(Simulated, TakesTheTimeThatTheCostModelSays) {
  Engine<presets::Vllm, executor::Simulated> engine(options());
  Request r;
  r.prompt_length = 100;
  r.output_length = 3;
  engine.submit(r);
  const cost_model::Roofline model(executor::Simulated::inputs<presets::Vllm>(options()));
  StepPlan plan;
  plan.batched_tokens = 100;
  plan.sequences.resize(1);
  plan.sequences[0].tokens = 100;
  plan.sequences[0].draws = 1;
  EXPECT_EQ(engine.step().seconds, model.cost(plan).seconds);
  plan.batched_tokens = 1;
  plan.sequences[0].tokens = 1;
  plan.sequences[0].computed = 100;
  EXPECT_EQ(engine.step().seconds, model.cost(plan).seconds);
}

}  // namespace
}  // namespace quire::executor_test
