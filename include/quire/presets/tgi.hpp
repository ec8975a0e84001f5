#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/request_limit.hpp>
#include <quire/scheduler/orca.hpp>

namespace quire::presets {

/// Text Generation Inference before paging: continuous batching, and prompt plus max_tokens
/// reserved in one piece. \source the TGI baseline of the vLLM launch post, 2023-06-20; TGI's
/// launcher documentation. Deviation: runs come from the buddy allocator that all reserving systems
/// share here. Where a workload sets max_tokens to the true output length, as the generators do, it
/// reserves what orca_oracle reserves and decides the same.
struct Tgi : Vllm {
  static constexpr std::string_view name = "tgi";
  using Reservation = reservation::RequestLimit;
  using Scheduler = scheduler::Orca;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
