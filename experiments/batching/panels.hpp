#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <experiments/common/paper_setup.hpp>
#include <experiments/common/rate_curve.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>

namespace quire::experiment {

/// From where to where a system's ladder of rates goes; 0: the system is not in the panel.
struct Ladder {
  double low = 0, high = 0;
};

/// One panel of a latency figure of Kwon et al., SOSP '23.
struct Panel {
  std::string_view part;      // fig12b
  const model::Shape* model;  // on the devices of Table 1
  std::string_view workload;  // sharegpt, alpaca, shared_prefix, chat
  std::int64_t n = 1, beam_width = 0;
  std::int64_t prefix = 0;     // tokens of the shared prefix
  std::int64_t max_batch = 0;  // of the request-level system \source the paper's artifact, ft/
  Ladder vllm{}, oracle{}, pow2{}, max{}, faster_transformer{};
  double new_probability = 0.5;  // of a request of `chat` to begin a conversation
};

/// Ladders bracket the rate at which a system passes 0.5 s a token.
inline constexpr Panel panels[] = {
    {.part = "fig12b",
     .model = &model::opt_66b,
     .workload = "sharegpt",
     .max_batch = 2,
     .vllm = {0.4, 2.2},
     .oracle = {0.2, 0.9},
     .pow2 = {0.1, 0.7},
     .max = {0.1, 0.5},
     .faster_transformer = {0.02, 0.3}},
    {.part = "fig12c",
     .model = &model::opt_175b,
     .workload = "sharegpt",
     .max_batch = 24,
     .vllm = {1.2, 5.5},
     .oracle = {0.8, 2.8},
     .pow2 = {0.5, 2.2},
     .max = {0.25, 3.0},
     .faster_transformer = {0.01, 0.6}},
    {.part = "fig12d",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .max_batch = 14,
     .vllm = {15, 60},
     .oracle = {10, 30},
     .pow2 = {6, 22},
     .max = {1.5, 8},
     .faster_transformer = {0.5, 8}},
    {.part = "fig12e",
     .model = &model::opt_66b,
     .workload = "alpaca",
     .max_batch = 8,
     .vllm = {8, 28},
     .oracle = {5, 20},
     .pow2 = {2.5, 14},
     .max = {0.4, 4},
     .faster_transformer = {0.2, 4}},
    {.part = "fig12f",
     .model = &model::opt_175b,
     .workload = "alpaca",
     .max_batch = 80,
     .vllm = {10, 60},
     .oracle = {10, 48},
     .pow2 = {8, 40},
     .max = {1.25, 14},
     .faster_transformer = {0.5, 14}},
    {.part = "fig14_parallel2",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .n = 2,
     .vllm = {8, 34},
     .oracle = {6, 20},
     .pow2 = {4, 16},
     .max = {0.8, 4}},
    {.part = "fig14_parallel4",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .n = 4,
     .vllm = {4, 18},
     .oracle = {3, 12},
     .pow2 = {2, 9},
     .max = {0.1, 2}},
    {.part = "fig14_parallel6",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .n = 6,
     .vllm = {3, 13},
     .oracle = {2, 8},
     .pow2 = {1, 6},
     .max = {0.1, 1.4}},
    {.part = "fig14_beam2",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .beam_width = 2,
     .vllm = {8, 44},
     .oracle = {5, 18},
     .pow2 = {3, 14},
     .max = {0.5, 4}},
    {.part = "fig14_beam4",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .beam_width = 4,
     .vllm = {5, 20},
     .oracle = {2.5, 10},
     .pow2 = {1, 7},
     .max = {0.1, 2}},
    {.part = "fig14_beam6",
     .model = &model::opt_13b,
     .workload = "alpaca",
     .beam_width = 6,
     .vllm = {3, 15},
     .oracle = {1, 7},
     .pow2 = {0.5, 5},
     .max = {0.1, 1.4}},
    {.part = "fig16_one_shot",
     .model = &model::llama_13b,
     .workload = "shared_prefix",
     .prefix = 80,
     .vllm = {20, 110},
     .oracle = {12, 60}},
    {.part = "fig16_five_shot",
     .model = &model::llama_13b,
     .workload = "shared_prefix",
     .prefix = 341,
     .vllm = {20, 110},
     .oracle = {4, 30}},
    // Conversations as the paper's artifact starts them for vLLM, and as it starts them for Orca; here both
    // for both.
    {.part = "fig17",
     .model = &model::opt_13b,
     .workload = "chat",
     .vllm = {0.2, 2.6},
     .oracle = {0.1, 1.8},
     .pow2 = {0.1, 1.5},
     .max = {0.1, 1.2}},
    {.part = "fig17_long",
     .model = &model::opt_13b,
     .workload = "chat",
     .vllm = {0.2, 1.8},
     .oracle = {0.1, 1.2},
     .pow2 = {0.1, 1.2},
     .max = {0.1, 1.2},
     .new_probability = 0.1},
};

/// `count` rates of a ladder, each the same multiple of the one before.
[[nodiscard]] inline std::vector<double> rungs(const Ladder& ladder, std::size_t count) {
  std::vector<double> out;
  if (ladder.high <= 0) return out;
  for (std::size_t i = 0; i < count; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(count - 1);
    const double rate = ladder.low * std::pow(ladder.high / ladder.low, part);
    out.push_back(three_digits(rate));
  }
  return out;
}

/// The devices and memory of Table 1 for a model, and the engine constants of the paper.
[[nodiscard]] inline executor::Simulated::Options table_1_setup(const model::Shape& shape) {
  executor::Simulated::Options setup = paper_engine_setup();
  setup.model = shape;
  const auto gib = [](std::int64_t n) { return n << 30; };
  if (shape.name == model::opt_66b.name) {
    setup.tensor_parallel = 4;
    setup.memory.kv_bytes = gib(21);
    setup.memory.host_bytes = gib(4 * 20);
  } else if (shape.name == model::opt_175b.name) {
    setup.tensor_parallel = 8;
    setup.hardware = hardware::a100_80gb;
    setup.memory.kv_bytes = gib(264);
    setup.memory.host_bytes = gib(8 * 20);
  }
  return setup;
}

}  // namespace quire::experiment
