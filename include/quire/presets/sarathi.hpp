#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/scheduler/chunked_prefill.hpp>

namespace quire::presets {

/// Sarathi-Serve: paged memory with stall-free batches of decodes and prompt chunks.
/// \source Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with
/// Sarathi-Serve", OSDI '24.
struct Sarathi : Vllm {
  static constexpr std::string_view name = "sarathi";
  using Offload = offload::Recompute;
  using Scheduler = scheduler::ChunkedPrefill;
};

}  // namespace quire::presets
