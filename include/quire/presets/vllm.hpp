#pragma once

#include <string_view>

#include <quire/admission/always.hpp>
#include <quire/engine/config.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/offload/recompute_single_swap_group.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/reservation/on_demand.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/scheduler/fcfs.hpp>
#include <quire/speculation/none.hpp>
#include <quire/weight_format/fp16.hpp>

namespace quire::presets {

/// vLLM as published: paged memory on demand, first come first served, no prefix cache.
/// \source Kwon et al., "Efficient Memory Management for Large Language Model Serving with
/// PagedAttention", SOSP '23.
struct Vllm {
  static constexpr std::string_view name = "vllm";
  using BlockSize = quire::BlockSize<16>;
  using Reservation = reservation::OnDemand;
  using PrefixIndex = prefix_index::None;
  using Eviction = eviction::Lru;
  using Admission = admission::Always;
  using Offload = offload::RecomputeSingleSwapGroup;
  using KvFormat = kv_format::Fp16;
  using WeightFormat = weight_format::Fp16;
  using Retention = retention::KeepAll;
  using Scheduler = scheduler::Fcfs;
  using Speculation = speculation::None;
};

}  // namespace quire::presets
