#pragma once

#include <cstdint>

#include <quire/core/type_list.hpp>
#include <quire/engine/axes.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/override.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/offload.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::experiment {

/// Figure 19: what a preemption does, at each block size.
template <class Base, std::int64_t N, class Policy>
using Preempting = with<Base, set_block_size<BlockSize<N>>, set_offload<Policy>>;
static_assert(changed_slots<Preempting<presets::Vllm, 16, offload::Recompute>,
                            Preempting<presets::Vllm, 16, offload::SwapToHost>> == Slot::offload);

/// Sessions: where the cache of a conversation waits for its next turn.
template <class Policy>
using Keeping = with<presets::VllmPrefixCache, set_offload<Policy>>;
using Keepers =
    type_list<Keeping<offload::Recompute>, Keeping<offload::HostCache>, Keeping<offload::Tiered>,
              Keeping<offload::AttentionStore>, Keeping<offload::CostBased>>;
static_assert(changed_slots<Keeping<offload::Tiered>, presets::VllmPrefixCache> == Slot::offload);
/// The formats that a processor computes in.
struct OnCpu : presets::Vllm {
  static constexpr std::string_view name = "vllm_fp32";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};
struct CachedOnCpu : presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm_prefix_cache_fp32";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::Tiered;
};

}  // namespace quire::experiment
