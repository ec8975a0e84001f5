#pragma once

#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/engine/override.hpp>
#include <quire/offload/overlapped_swap.hpp>
#include <quire/offload/proactive_swap.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/request_limit.hpp>
#include <quire/scheduler/scheduler.hpp>

namespace quire::experiment {

/// vLLM's engine, but who is preempted is swapped out whatever its number of sequences, while layers are
/// computed: schedulers that preempt for latency would else compute the same text again and again, or
/// wait for what they move.
struct Swapping : presets::Vllm {
  static constexpr std::string_view name = "vllm+swap";
  using Offload = offload::OverlappedSwap;
};

/// Another scheduler, and nothing else changed.
template <class Policy>
using Under = with<Swapping, set_scheduler<Policy>>;

/// The same, and blocks are swapped ahead of need, as FastServe does.
template <class Policy>
using SwappingAhead = with<Under<Policy>, set_offload<offload::ProactiveSwap>>;

/// Schedulers that never preempt, or give memory back by the batch: all that a request will need is
/// reserved when it joins.
template <class Policy>
using Reserving = with<presets::Vllm, set_scheduler<Policy>,
                       set_reservation<reservation::RequestLimit>, set_offload<offload::Recompute>>;

/// With a prefix cache, for the scheduler that orders by it, and for what that is held against.
template <class Policy>
using Caching = with<Swapping, set_prefix_index<prefix_index::HashChain>, set_scheduler<Policy>>;

/// Every scheduler of the library: request-level batches, first come first served, then what gives that
/// up: for smooth decoding, for latency, for classes, for readers, for fairness, for cached prefixes; and
/// shortest remaining time with less than perfect knowledge of lengths.
using Schedulers =
    type_list<Reserving<scheduler::StaticBatch>, Reserving<scheduler::DynamicBatch>,
              Reserving<scheduler::Orca>, Swapping, Under<scheduler::ChunkedPrefill>,
              Under<scheduler::Mlfq>, SwappingAhead<scheduler::Mlfq>, Under<scheduler::Sjf>,
              Under<scheduler::Srpt>,
              Under<scheduler::BasicSrpt<scheduler::length_oracle::Bucketed<8>>>,
              Under<scheduler::BasicSrpt<scheduler::length_oracle::Noisy<50>>>,
              Under<scheduler::BasicSrpt<scheduler::length_oracle::RankCorrelated<50>>>,
              Under<scheduler::LearningToRank>, Under<scheduler::Priority>, Under<scheduler::Qoe>,
              Under<scheduler::Vtc>, Under<scheduler::WeightedVtc>, Under<scheduler::PredictiveVtc>,
              Caching<scheduler::Fcfs>, Caching<scheduler::LongestPrefix>>;

/// The scheduler's name, and what else is different.
template <class System>
inline constexpr std::string_view label = System::Scheduler::name;
template <>
inline constexpr std::string_view label<Caching<scheduler::Fcfs>> = "fcfs+prefix_cache";
template <>
inline constexpr std::string_view label<SwappingAhead<scheduler::Mlfq>> = "mlfq+proactive_swap";

}  // namespace quire::experiment
