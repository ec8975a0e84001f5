#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/max_length.hpp>
#include <quire/scheduler/static_batch.hpp>

namespace quire::presets {

/// generate() of Hugging Face Transformers on padded batches: everyone waits for the longest.
/// \source the HF baseline of the vLLM launch post, 2023-06-20; batch size is ours to state.
struct HfTransformers : Vllm {
  static constexpr std::string_view name = "hf_transformers";
  using Reservation = reservation::MaxLength;
  using Scheduler = scheduler::StaticBatch;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
