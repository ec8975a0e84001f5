#pragma once

#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/engine/override.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/scheduler/scheduler.hpp>

namespace quire::experiment {

/// vLLM's engine, but who is preempted is swapped out whatever its number of sequences: schedulers that
/// preempt for latency would else compute the same text again and again.
struct Swapping : presets::Vllm {
  static constexpr std::string_view name = "vllm+swap";
  using Offload = offload::SwapToHost;
};

/// Another scheduler, and nothing else changed.
template <class Policy>
using Under = with<Swapping, set_scheduler<Policy>>;

/// First come first served, then what gives it up: for latency, for a smooth stream, for readers, for
/// fairness.
using Schedulers =
    type_list<Swapping, Under<scheduler::ChunkedPrefill>, Under<scheduler::Mlfq>,
              Under<scheduler::Srpt>, Under<scheduler::LearningToRank>, Under<scheduler::Qoe>,
              Under<scheduler::Vtc>, Under<scheduler::PredictiveVtc>>;

}  // namespace quire::experiment
