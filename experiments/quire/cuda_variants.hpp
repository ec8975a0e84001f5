#pragma once

#include <string_view>

#include <quire/core/float16.hpp>
#include <quire/engine/engine.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/executor/sized_to_device.cuh>
#include <quire/kernels/dense/device_product.cuh>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp8_e4m3.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>

namespace quire::experiment {

/// Activations in bfloat16, heads of 64 and 128 dimensions.
using CudaExecutor =
    executor::SizedToDevice<executor::BasicCuda<Bf16, kernels::DeviceProduct, 64, 128>>;

/// A system with the formats that models are published in; otherwise as published.
struct CudaVllm : presets::Vllm {
  static constexpr std::string_view name = "vllm_bf16";
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
};
struct CudaVllmPrefixCache : presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm_prefix_cache_bf16";
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
};
struct CudaOrcaMax : presets::OrcaMax {
  static constexpr std::string_view name = "orca_max_bf16";
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
};
struct CudaSarathi : presets::Sarathi {
  static constexpr std::string_view name = "sarathi_bf16";
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
};

/// What `quire run --executor cuda` runs. Each format brings kernels, so there are few.
using CudaVariants = type_list<
    CudaVllm, CudaVllmPrefixCache, CudaOrcaMax, CudaSarathi,
    with<CudaVllm, set_speculation<speculation::PromptLookup>>,
    with<CudaVllm, set_kv_format<kv_format::Int8PerTokenHead>>,
    with<CudaVllm, set_weight_format<weight_format::LinearOnly<weight_format::Int4Grouped<128>>>>,
    with<CudaVllm, set_retention<retention::StreamingLlm>>>;

}  // namespace quire::experiment
