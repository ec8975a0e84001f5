#pragma once

#include <quire/admission/admission.hpp>
#include <quire/engine/axes.hpp>
#include <quire/engine/override.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/kv_format/kv_format.hpp>
#include <quire/offload/offload.hpp>
#include <quire/prefix_index/prefix_index.hpp>
#include <quire/presets/presets.hpp>
#include <quire/reservation/reservation.hpp>
#include <quire/scheduler/scheduler.hpp>
#include <quire/speculation/speculation.hpp>
#include <quire/weight_format/weight_format.hpp>

namespace quire::experiment {

/// The systems that the literature names.
using Presets =
    type_list<presets::Vllm, presets::VllmPrefixCache, presets::OrcaMax, presets::OrcaPow2,
              presets::OrcaOracle, presets::FasterTransformer, presets::HfTransformers,
              presets::Tgi, presets::Torchserve, presets::Sarathi>;

using BlockSizes =
    axis<set_block_size, BlockSize<1>, BlockSize<2>, BlockSize<4>, BlockSize<8>, BlockSize<16>,
         BlockSize<32>, BlockSize<64>, BlockSize<128>, BlockSize<256>>;
/// Belady is not here: it needs each block's next use, which a replay of references knows and an
/// engine does not.
using Evictions =
    axis<set_eviction, eviction::Fifo, eviction::Lru, eviction::Mru, eviction::Clock, eviction::Lfu,
         eviction::LfuDa, eviction::TwoQ, eviction::LruK, eviction::Slru, eviction::Arc,
         eviction::S3Fifo, eviction::Sieve, eviction::WTinyLfu, eviction::Gdsf,
         eviction::Hyperbolic, eviction::Priority, eviction::RandomMarking,
         eviction::TailOptimizedLru, eviction::LeadingChunkFirst, eviction::WorkloadAware>;
using Admissions = axis<set_admission, admission::ReuseThreshold, admission::TinyLfu>;
using PrefixIndexes = axis<set_prefix_index, prefix_index::RadixTree, prefix_index::TokenRadixTree>;
using Offloads = axis<set_offload, offload::Recompute, offload::SwapToHost>;
/// Tiers keep what a prefix index can find again.
using Tiers = axis<set_offload, offload::HostCache, offload::Tiered, offload::AttentionStore,
                   offload::CostBased>;
using KvFormats =
    axis<set_kv_format, kv_format::Fp32, kv_format::Bf16, kv_format::Int8PerTokenHead>;
using WeightFormats = axis<set_weight_format, weight_format::Fp32, weight_format::Bf16>;
using Schedulers = axis<set_scheduler, scheduler::ChunkedPrefill, scheduler::Priority,
                        scheduler::Sjf, scheduler::Srpt, scheduler::Mlfq, scheduler::Vtc,
                        scheduler::Qoe, scheduler::LearningToRank, scheduler::PredictiveVtc>;
using PrefixSchedulers = axis<set_scheduler, scheduler::LongestPrefix>;
using Speculations = axis<set_speculation, speculation::PromptLookup, speculation::DraftModel>;
using Reservations = axis<set_reservation, reservation::MaxLength, reservation::PowerOfTwo,
                          reservation::Oracle, reservation::RequestLimit>;

/// Without the first, which is the base itself and stands in the list already.
template <class List>
struct Tail;
template <class First, class... Rest>
struct Tail<type_list<First, Rest...>> {
  using type = type_list<Rest...>;
};
template <class Base, class... Axes>
using changes_of = typename Tail<one_at_a_time<Base, Axes...>>::type;

/// What `quire` runs: the systems, and one change at a time from three of them. Eviction decides
/// something only where cached blocks are kept, and a reservation only where one is made.
using DefaultVariants =
    concat_t<Presets,
             changes_of<presets::Vllm, BlockSizes, Offloads, KvFormats, WeightFormats, Schedulers,
                        Speculations>,
             changes_of<presets::VllmPrefixCache, BlockSizes, PrefixIndexes, Evictions, Admissions,
                        Offloads, Tiers, PrefixSchedulers>,
             changes_of<presets::OrcaMax, Reservations>>;

}  // namespace quire::experiment
