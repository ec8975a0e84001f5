#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/request_limit.hpp>
#include <quire/scheduler/dynamic_batch.hpp>

namespace quire::presets {

/// TorchServe's dynamic batcher: a batch starts when it is full or its oldest request has waited
/// SchedulerLimits::max_delay, and returns as a whole.
/// \source TorchServe documentation, batch_size and max_batch_delay. Deviation: TorchServe itself
/// manages no keys and values; each request reserves prompt plus max_tokens here.
struct Torchserve : Vllm {
  static constexpr std::string_view name = "torchserve";
  using Reservation = reservation::RequestLimit;
  using Scheduler = scheduler::DynamicBatch;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
