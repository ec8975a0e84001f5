#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/presets.hpp>
#include <quire/retention/retention.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"
#include "tests/engine/scripted.hpp"

namespace quire::engine_test {

struct RetentionBase : presets::Vllm {
  static constexpr std::string_view name = "base";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::SwapToHost;
  using BlockSize = quire::BlockSize<8>;
};

template <class Policy, class Format = kv_format::Fp32, class OffloadPolicy = offload::SwapToHost>
struct Keeping : RetentionBase {
  static constexpr std::string_view name = "keeping";
  using Retention = Policy;
  using KvFormat = Format;
  using Offload = OffloadPolicy;
};

inline std::vector<Request> retention_requests() {
  Rng rng(3);
  std::vector<Request> all;
  for (std::uint64_t i = 0; i < 12; ++i) {
    Request r;
    for (std::uint64_t n = 20 + rng.below(40), k = 0; k < n; ++k) {
      r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    }
    SamplingParams& p = r.sampling;
    p.max_tokens = 4 + static_cast<std::int64_t>(rng.below(24));
    p.seed = 1000 + i;
    p.temperature = i % 3 == 0 ? 0 : 0.9;
    if (i % 4 == 1) p.n = 3;
    if (i % 6 == 5) p.beam_width = p.n = 3;
    all.push_back(std::move(r));
  }
  return all;
}

struct Outcome {
  Outputs texts;
  EngineCounters counters;
  std::uint64_t decisions = 0;
  std::int64_t most_blocks = 0;  // held at the end of a step
  std::int64_t most_holes = 0;
};

template <class C>
Outcome run_retained(const RetentionLimits& limits, std::int64_t blocks = 400,
                     std::size_t threads = 1,
                     const std::vector<Request>& submitted = retention_requests()) {
  executor::Cpu::Options options{
      .model = testing::opened(
          (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models/llama").string()),
      .limits = {.retention = limits},
      .threads = threads,
      .poison = true};
  options.device_blocks = blocks;
  options.host_blocks = 400;
  Engine<C, executor::Cpu> engine(options);
  for (const Request& r : submitted) engine.submit(r);
  Outcome out;
  const auto finished = drain(engine, [&] {
    check(engine);
    const MemoryUsage u = engine.usage();
    out.most_blocks = std::max(out.most_blocks, u.physical_blocks.value);
    out.most_holes = std::max(out.most_holes, u.holes.value);
  });
  out.texts = outputs_of(finished);
  out.counters = engine.counters();
  out.decisions = engine.decision_hash();
  EXPECT_EQ(engine.usage().physical_blocks, BlockCount{0});
  return out;
}

/// Far less than the texts.
inline constexpr RetentionLimits tight{.budget = 16,
                                       .sinks = 2,
                                       .recent = 4,
                                       .history = 32,
                                       .observation = 6,
                                       .pooling = 3,
                                       .pyramid_slope = 4,
                                       .dense_layers = 0};

}  // namespace quire::engine_test
