#include <quire/cost_model/memory_planner.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include <quire/engine/override.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/vllm.hpp>

namespace quire::cost_model_test {
namespace {

CostInputs inputs(const model::Shape& shape, std::int64_t devices = 1) {
  return {.model = shape,
          .hardware = hardware::a100_40gb,
          .tensor_parallel = devices,
          .storage = storage_cost<presets::Vllm>(shape),
          .host = {}};
}
std::string complaint(const CostInputs& in, const MemoryBudget& budget) {
  try {
    (void)plan_memory(in, budget);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(MemoryPlanner, DividesTheDevice) {
  const MemoryBudget budget{.utilization = 0.95, .workspace = std::int64_t{1} << 30};
  const MemoryPlan plan = plan_memory(inputs(model::opt_13b), budget);
  const double weights = 2.0 * static_cast<double>(model::opt_13b.parameters());
  EXPECT_EQ(plan.weight_bytes, weights);
  EXPECT_NEAR(weights, 26e9, 1e9);  // Table 1 of the PagedAttention paper
  const double kv = 40.0 * (1u << 30) * 0.95 - weights - (1u << 30);
  EXPECT_NEAR(plan.kv_bytes, kv, 1);
  EXPECT_EQ(plan.device_blocks.value, static_cast<std::int64_t>(kv / (16 * 819'200)));
  EXPECT_EQ(plan.host_blocks.value, (std::int64_t{4} << 30) / (16 * 819'200));
  EXPECT_EQ(plan.slots().value, plan.device_blocks.value * 16);
  EXPECT_THAT(plan.explain(), ::testing::HasSubstr(std::to_string(plan.device_blocks.value)));
}

TEST(MemoryPlanner, CountsSlotsInBlocksOfTheEngine) {
  CostInputs in = inputs(model::opt_13b);
  const MemoryPlan small = plan_memory(in, {});
  in.storage = storage_cost<with<presets::Vllm, set_block_size<BlockSize<64>>>>(model::opt_13b);
  const MemoryPlan large = plan_memory(in, {});
  EXPECT_EQ(large.device_blocks.value, small.device_blocks.value / 4);
  EXPECT_EQ(large.slots().value, large.device_blocks.value * 64);
  EXPECT_THAT(large.explain(), ::testing::HasSubstr("64"));
}

// Table 1 of the PagedAttention paper: what it gives each model fits beside the weights.
TEST(MemoryPlanner, TakesAGivenSizeThatFitsBesideTheWeights) {
  auto given = [](const model::Shape& shape, std::int64_t devices, const Hardware& hardware,
                  std::int64_t gib) {
    CostInputs in = inputs(shape, devices);
    in.hardware = hardware;
    return plan_memory(in, {.kv_bytes = gib << 30}).device_blocks.value;
  };
  EXPECT_EQ(given(model::opt_13b, 1, hardware::a100_40gb, 12),
            (std::int64_t{12} << 30) / (16 * 819'200));
  EXPECT_EQ(given(model::opt_66b, 4, hardware::a100_40gb, 21),
            (std::int64_t{21} << 30) / (16 * 2'359'296));
  EXPECT_EQ(given(model::opt_175b, 8, hardware::a100_80gb, 264),
            (std::int64_t{264} << 30) / (16 * 4'718'592));
}

TEST(MemoryPlanner, RefusesAGivenSizeThatDoesNotFitBesideTheWeights) {
  const std::string why = complaint(inputs(model::opt_175b), {.kv_bytes = std::int64_t{12} << 30});
  EXPECT_THAT(why, ::testing::HasSubstr("opt_175b on 1 x a100_40gb"));
  EXPECT_THAT(why, ::testing::HasSubstr("12.9 GB of keys and values do not fit into 42.9 GB"));
  EXPECT_THAT(why, ::testing::HasSubstr("tensor_parallel"));
  // 42.9 GB less 25.7 GB of weights
  EXPECT_EQ(complaint(inputs(model::opt_13b), {.kv_bytes = 17'000'000'000}), "");
  EXPECT_THAT(complaint(inputs(model::opt_13b), {.kv_bytes = 17'500'000'000}),
              ::testing::HasSubstr("do not fit"));
}

TEST(MemoryPlanner, AddsDevicesUp) {
  const MemoryPlan four = plan_memory(inputs(model::opt_66b, 4), {});
  EXPECT_EQ(four.device_bytes, 4 * hardware::a100_40gb.memory_bytes);
  const double kv = four.device_bytes * 0.9 - four.weight_bytes - 4.0 * (1u << 30);
  EXPECT_NEAR(four.kv_bytes, kv, 1);
}

TEST(MemoryPlanner, SaysWhatDoesNotFitAndWhatWouldHelp) {
  const std::string why = complaint(inputs(model::opt_66b), {});
  EXPECT_THAT(why, ::testing::HasSubstr("opt_66b on 1 x a100_40gb"));
  EXPECT_THAT(why, ::testing::HasSubstr("no room for keys and values"));
  EXPECT_THAT(why, ::testing::HasSubstr("tensor_parallel"));
}

TEST(MemoryPlanner, RefusesNumbersThatAreNone) {
  EXPECT_THAT(complaint(inputs(model::opt_13b, 0), {}), ::testing::HasSubstr("tensor_parallel"));
  EXPECT_THAT(complaint(inputs(model::opt_13b), {.utilization = 1.5}),
              ::testing::HasSubstr("utilization"));
  EXPECT_THAT(complaint(inputs(model::opt_13b), {.utilization = 0}),
              ::testing::HasSubstr("utilization"));
}

}  // namespace
}  // namespace quire::cost_model_test
