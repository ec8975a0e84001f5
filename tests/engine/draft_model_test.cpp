// A second model guesses. Whichever it is, clients get what they get without it.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/speculation/draft_model.hpp>

#include "tests/engine/cpu_outputs.hpp"

namespace quire::cpu_outputs {
namespace {

checkpoint::Checkpoint other_model() {
  return testing::opened(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models/qwen3").string());
}

using Drafting = with<Swapping, set_speculation<speculation::BasicDraftModel<4>>>;
using DraftingCached = with<Cached, set_speculation<speculation::BasicDraftModel<4>>>;

TEST(DraftModel, TheModelItselfIsAlwaysRight) {
  // greedy or not: it draws with the same random numbers
  const Served all = run<Drafting>(requests(), 18, 300, 2, model());
  EXPECT_EQ(all.texts, one_by_one());
  EXPECT_EQ(all.counters.accepted_tokens, all.counters.drafted_tokens);
  EXPECT_GT(all.counters.accepted_tokens, Tokens{150});
  const Served alone = run<Drafting>(requests(), 1, 300, 1, model());
  EXPECT_EQ(alone.texts, one_by_one());
  EXPECT_EQ(alone.counters.accepted_tokens, alone.counters.drafted_tokens);
  EXPECT_LT(2 * alone.counters.steps, run<Base>(requests(), 1, 64).counters.steps);
}

TEST(DraftModel, AnotherModelChangesNoText) {
  const Served wide = run<Drafting>(requests(), 18, 300, 1, other_model());
  EXPECT_EQ(wide.texts, one_by_one());
  EXPECT_GT(wide.counters.drafted_tokens, wide.counters.accepted_tokens + 100);
  // guesses depend on the text alone: as many hold for one at a time, on two threads
  const Served alone = run<Drafting>(requests(), 1, 300, 2, other_model());
  EXPECT_EQ(alone.texts, one_by_one());
}

TEST(DraftModel, SurvivesPreemptionAndShortBlocks) {
  for (const auto& draft : {model(), other_model()}) {
    const Served tight = run<Drafting>(requests(), 18, 20, 1, draft);
    EXPECT_GT(tight.counters.preemptions, 3);
    EXPECT_GT(tight.counters.swapped_out_blocks, BlockCount{0});
    EXPECT_GT(tight.counters.drafted_tokens, Tokens{50});
    EXPECT_EQ(tight.texts, one_by_one());
    // blocks of four tokens, prefixes shared, preempted ones computed anew
    const Served cached = run<DraftingCached>(requests(), 18, 60, 1, draft);
    EXPECT_GT(cached.counters.preemptions, 0);
    EXPECT_GT(cached.counters.drafted_tokens, Tokens{50});
    EXPECT_EQ(cached.texts, one_by_one());
  }
}

// ---- in simulated time --------------------------------------------------------------------------

using Steps = executor::Simulated::Steps;
using Simulated = with<presets::Vllm, set_speculation<speculation::BasicDraftModel<3>>>;

executor::Simulated::Options options(double acceptance) {
  executor::Simulated::Options o{.model = model::opt_13b, .hardware = hardware::a100_40gb};
  o.acceptance = acceptance;
  o.draft_model = model::opt_125m;
  return o;
}

/// Seconds of a draft model's pass over one sequence.
double pass(std::int64_t computed, std::int64_t tokens) {
  CostInputs in{.model = model::opt_125m,
                .hardware = hardware::a100_40gb,
                .storage = storage_cost<presets::Vllm>(model::opt_125m),
                .host = host_overhead::none};
  StepPlan plan;
  SequencePlan& row = plan.sequences.emplace_back();
  row.computed = computed;
  row.tokens = plan.batched_tokens = tokens;
  row.draws = 1;
  return cost_model::Roofline(in).cost(plan).seconds.value;
}

TEST(DraftModel, SimulatedTimeHasEachOfItsPasses) {
  using E = executor::Simulated;
  E::Options with_draft = options(1), without = options(1);
  without.draft_model = std::nullopt;
  const KvGeometry geometry = E::geometry<Simulated>(with_draft);
  EXPECT_LT(geometry.device_blocks, E::geometry<presets::Vllm>(without).device_blocks);
  Steps drafting = E::bind<Simulated>(with_draft, geometry);
  Steps plain = E::bind<presets::Vllm>(without, geometry);
  SamplingParams p;
  StepPlan plan;
  SequencePlan& row = plan.sequences.emplace_back();
  row.sequence = {7};
  row.sampling = &p;
  row.draws = 1;
  const auto extra = [&](std::int64_t computed, std::int32_t drafts) {
    row.computed = computed;
    row.drafts = drafts;
    row.tokens = plan.batched_tokens = 1 + drafts;
    StepResult a, b;
    drafting.execute(plan, a);
    plain.execute(plan, b);
    return (a.seconds - b.seconds).value;
  };
  // its text of 101 tokens first, then one draft after the other; the last is not computed
  EXPECT_NEAR(extra(100, 3), pass(0, 101) + pass(101, 1) + pass(102, 1), 1e-12);
  // all three held, and the token drawn after them: two that it has not seen
  EXPECT_NEAR(extra(104, 3), pass(103, 2) + pass(105, 1) + pass(106, 1), 1e-12);
  EXPECT_NEAR(extra(108, 0), 0, 1e-15);  // nothing is guessed near the end
  EXPECT_NEAR(extra(108, 1), pass(107, 2), 1e-12);
}

TEST(DraftModel, SimulatedStepsAreFewerByWhatHolds) {
  const auto steps = [](double acceptance) {
    Engine<Simulated, executor::Simulated> engine(options(acceptance));
    Request r;
    r.prompt_length = 20;
    r.output_length = 101;
    engine.submit(std::move(r));
    while (engine.has_work()) engine.step();
    return engine.counters().steps;
  };
  EXPECT_EQ(steps(0), 101);
  EXPECT_EQ(steps(1), 26);  // four tokens a step behind the prompt's
}

TEST(DraftModel, IsRefusedWhereItDoesNotFit) {
  auto o = options(0.5);
  o.draft_model = model::llama_7b;
  EXPECT_THROW((Engine<Simulated, executor::Simulated>(o)), Error);
  EXPECT_THROW((Engine<presets::Vllm, executor::Simulated>(options(0.5))), Error);
  EXPECT_THROW(static_cast<void>(run<Drafting>(requests(), 1, 300)), Error);
}

}  // namespace
}  // namespace quire::cpu_outputs
