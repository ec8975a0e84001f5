#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/max_length.hpp>
#include <quire/scheduler/dynamic_batch.hpp>

namespace quire::presets {

/// FasterTransformer behind a request-level batcher: whole-length reservations, batches that run
/// until their last request has finished. SchedulerLimits::max_batch is the paper's B. \source Kwon
/// et al., SOSP '23, section 6.1 ("FasterTransformer").
struct FasterTransformer : Vllm {
  static constexpr std::string_view name = "faster_transformer";
  using Reservation = reservation::MaxLength;
  using Scheduler = scheduler::DynamicBatch;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
