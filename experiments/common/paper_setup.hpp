#pragma once

#include <algorithm>
#include <cstdint>

#include <quire/cost_model/hardware.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>

namespace quire::experiment {

/// OPT-13B on one A100-40GB with 12 GiB for keys and values, and the engine constants of the paper.
/// \source Kwon et al., SOSP '23, Table 1, and its artifact: 2,560 batched tokens, 2,048 sequences,
/// 20 GiB of swap space, 1 % watermark.
[[nodiscard]] inline executor::Simulated::Options opt_13b_setup() {
  return {.model = model::opt_13b,
          .hardware = hardware::a100_40gb,
          .limits = {.max_batched_tokens = 2560, .max_sequences = 2048, .watermark = 0.01},
          .memory = {.kv_bytes = std::int64_t{12} << 30, .host_bytes = std::int64_t{20} << 30},
          .host = host_overhead::python_2023};
}

/// Any model on one A100-80GB, for traces that are too long for OPT. A step may process as many tokens as
/// one sequence may have, which vLLM asks for where prompts are not cut into chunks.
[[nodiscard]] inline executor::Simulated::Options long_context_setup(const model::Shape& shape) {
  executor::Simulated::Options setup = opt_13b_setup();
  setup.model = shape;
  setup.hardware = hardware::a100_80gb;
  setup.limits.max_batched_tokens = std::max(setup.limits.max_batched_tokens, shape.max_length);
  setup.memory.kv_bytes = 0;  // what the weights leave
  return setup;
}

}  // namespace quire::experiment
