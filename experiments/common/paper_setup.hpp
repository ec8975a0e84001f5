#pragma once

#include <algorithm>
#include <cstdint>

#include <quire/cost_model/hardware.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>

namespace quire::experiment {

/// A device as FasterTransformer's kernels use it. The paper's artifact has a log of 99 full batches of OPT-13B
/// on an A100-80GB (14 requests of Alpaca, two beams each); these constants are fitted to its times on that
/// card, with a mean error of 0.4 %, and leave no host time. As shares of bandwidth they are taken to hold
/// for the 40 GB card, of which there is no log. \source sosp-ae-39/sosp-ae-astra, ft/tp1.txt.
[[nodiscard]] constexpr Hardware under_faster_transformer(Hardware hardware) {
  hardware.bandwidth_share = 0.74;
  hardware.attention_bandwidth_share = 0.725;
  hardware.launch = 2e-6;
  return hardware;
}

/// The same device under the paper's own engine: its products are calls of the same library, and its
/// attention kernel takes 20 to 26 % longer than FasterTransformer's. \source Kwon et al., section 7.1.
[[nodiscard]] constexpr Hardware under_paged_attention(Hardware hardware) {
  hardware = under_faster_transformer(hardware);
  hardware.attention_bandwidth_share /= 1.23;
  return hardware;
}

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

/// The paper's own engine, and the Orca of its authors, on that device.
[[nodiscard]] inline executor::Simulated::Options paper_engine_setup() {
  executor::Simulated::Options setup = opt_13b_setup();
  setup.hardware = under_paged_attention(setup.hardware);
  setup.host = host_overhead::python_2023;
  return setup;
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
