#pragma once

#include <quire/core/type_list.hpp>
#include <quire/engine/override.hpp>
#include <quire/presets/sarathi.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/scheduler/scheduler.hpp>

namespace quire::experiment {

/// vLLM as published, with another scheduler and nothing else changed.
template <class Policy>
using Under = with<presets::Vllm, set_scheduler<Policy>>;

/// First come first served, then what gives it up: for latency, for a smooth stream, for readers, for
/// fairness.
using Schedulers =
    type_list<presets::Vllm, Under<scheduler::ChunkedPrefill>, Under<scheduler::Mlfq>,
              Under<scheduler::Srpt>, Under<scheduler::LearningToRank>, Under<scheduler::Qoe>,
              Under<scheduler::Vtc>, Under<scheduler::PredictiveVtc>>;

}  // namespace quire::experiment
