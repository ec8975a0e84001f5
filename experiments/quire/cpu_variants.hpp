#pragma once

#include <string_view>

#include <experiments/quire/cpu_steps.hpp>
#include <quire/engine/engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::experiment {

/// A system with the formats that a processor computes in; otherwise as published.
struct CpuVllm : presets::Vllm {
  static constexpr std::string_view name = "vllm_fp32";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};
struct CpuVllmPrefixCache : presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm_prefix_cache_fp32";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};
struct CpuOrcaMax : presets::OrcaMax {
  static constexpr std::string_view name = "orca_max_fp32";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};
struct CpuSarathi : presets::Sarathi {
  static constexpr std::string_view name = "sarathi_fp32";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};

/// What `quire run --executor cpu` runs. Each compiles kernels, so there are few.
using CpuVariants = type_list<CpuVllm, CpuVllmPrefixCache, CpuOrcaMax, CpuSarathi,
                              with<CpuVllm, set_block_size<BlockSize<64>>>,
                              with<CpuVllm, set_kv_format<kv_format::Int8PerTokenHead>>,
                              with<CpuVllm, set_speculation<speculation::PromptLookup>>,
                              with<CpuVllm, set_retention<retention::StreamingLlm>>>;

}  // namespace quire::experiment
