#include <quire/cost_model/affine.hpp>

#include <gtest/gtest.h>

#include <string>

#include "tests/common/temp_file.hpp"

namespace quire::testing {
namespace {

SequencePlan row(std::int64_t computed, std::int64_t tokens, std::int64_t prompt) {
  SequencePlan s;
  s.computed = computed;
  s.tokens = tokens;
  s.prompt_tokens = prompt;
  return s;
}

// DistServe's OPT-13B on one A100, in milliseconds.
const char* const file =
    "{\"facebook/opt-13b\": {\"1\": {\"decoding_large_small_bs_threshold\": 95,"
    " \"prefill\": [18.1, 0.1, 7e-6], \"decoding_smallbs\": [19.9, 6e-4, 0.04],"
    " \"decoding_largebs\": [7.2, 5e-4, 0.16]}}}";

TEST(Affine, PricesPromptsDecodesAndBoth) {
  const TempDir dir;
  dir.write("p.json", file);
  CostInputs in;
  in.affine = read_affine(dir.path() / "p.json", "facebook/opt-13b", 1);
  const cost_model::Affine model(in);
  StepPlan plan;
  EXPECT_EQ(model.cost(plan).seconds, Seconds{0.0});
  plan.sequences = {row(0, 100, 100), row(0, 50, 50)};
  const double prompts = 0.1 * 150 + 7e-6 * (100 * 100 + 50 * 50);
  EXPECT_NEAR(1e3 * model.cost(plan).seconds.value, 18.1 + prompts, 1e-9);
  plan.sequences = {row(99, 1, 40), row(199, 1, 40)};
  const double decodes = 6e-4 * 300 + 0.04 * 2;
  EXPECT_NEAR(1e3 * model.cost(plan).seconds.value, 19.9 + decodes, 1e-9);
  plan.sequences.push_back(row(0, 100, 100));
  plan.sequences.push_back(row(0, 50, 50));
  EXPECT_NEAR(1e3 * model.cost(plan).seconds.value, 18.1 + decodes + prompts, 1e-9);
  // a prompt in two chunks pays its squares once
  plan.sequences = {row(60, 40, 100)};
  EXPECT_NEAR(1e3 * model.cost(plan).seconds.value, 18.1 + 4 + 7e-6 * (10000 - 3600), 1e-9);
  plan.sequences.assign(95, row(9, 1, 5));
  EXPECT_NEAR(1e3 * model.cost(plan).seconds.value, 7.2 + 5e-4 * 950 + 0.16 * 95, 1e-9);
}

TEST(Affine, NamesWhatItMisses) {
  EXPECT_THROW(cost_model::Affine{CostInputs{}}, Error);
  const TempDir dir;
  dir.write("p.json", file);
  for (const auto& [model, devices] : {std::pair{"facebook/opt-66b", 1}, {"facebook/opt-13b", 2}}) {
    try {
      (void)read_affine(dir.path() / "p.json", model, devices);
      FAIL();
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("p.json"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace quire::testing
