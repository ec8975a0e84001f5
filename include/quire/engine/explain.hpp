#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quire/admission/concepts.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/config.hpp>
#include <quire/engine/explain_optional.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/prefix_index/concepts.hpp>
#include <quire/reservation/concepts.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/scheduler/concepts.hpp>
#include <quire/speculation/concepts.hpp>
#include <quire/weight_format/concepts.hpp>

/// Says in one sentence what a policy lacks. Each struct asks for one slot's members one by one, so
/// that the first error a compiler prints is the sentence, not the inside of an engine.
namespace quire::explain {

template <class P>
struct Named {
  static_assert(
      requires {
        { P::name } -> std::convertible_to<std::string_view>;
      },
      "quire: every policy and configuration needs `static constexpr std::string_view name`, the "
      "word "
      "that tables and command lines show; smallest model: quire/offload/recompute.hpp");
};

template <class C>
struct Slots : OptionalSlots<C> {
  static_assert(
      requires { C::BlockSize::tokens; },
      "quire: block_size: the configuration has no usable `using BlockSize = "
      "quire::BlockSize<16>`; smallest model: quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::Reservation; },
      "quire: reservation: the configuration has no `using Reservation = ...`; smallest "
      "model: quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::PrefixIndex; },
      "quire: prefix_index: the configuration has no `using PrefixIndex = ...`; smallest "
      "model: quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::Eviction; },
      "quire: eviction: the configuration has no `using Eviction = ...`; smallest model: "
      "quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::Admission; },
      "quire: admission: the configuration has no `using Admission = ...`; smallest model: "
      "quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::Offload; },
      "quire: offload: the configuration has no `using Offload = ...`; smallest model: "
      "quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::KvFormat; },
      "quire: kv_format: the configuration has no `using KvFormat = ...`; smallest model: "
      "quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::WeightFormat; },
      "quire: weight_format: the configuration has no `using WeightFormat = ...`; smallest "
      "model: quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::Retention; },
      "quire: retention: the configuration has no `using Retention = ...`; smallest model: "
      "quire/presets/vllm.hpp");
  static_assert(
      requires { typename C::Scheduler; },
      "quire: scheduler: the configuration has no `using Scheduler = ...`; smallest model: "
      "quire/presets/vllm.hpp");
};

template <class P>
struct Reservation : Named<P> {
  static_assert(
      requires {
        { P::contiguous } -> std::convertible_to<bool>;
      },
      "quire: reservation: the policy has no `static constexpr bool contiguous`; smallest "
      "model: quire/reservation/on_demand.hpp");
  static_assert(
      requires(const LengthHint& hint) {
        { P::reserve(hint) } -> std::same_as<Tokens>;
      },
      "quire: reservation: the policy has no `static Tokens reserve(const LengthHint&)`; "
      "smallest model: quire/reservation/on_demand.hpp");
};

template <class P>
struct PrefixIndex : Named<P>, OptionalPrefixIndex<P> {
  static_assert(
      requires {
        { P::enabled } -> std::convertible_to<bool>;
      },
      "quire: prefix_index: the policy has no `static constexpr bool enabled`; smallest "
      "model: quire/prefix_index/none.hpp");
  static_assert(std::constructible_from<P, BlockCount, Tokens>,
                "quire: prefix_index: the policy cannot be built from (BlockCount capacity, Tokens "
                "block_tokens); smallest model: quire/prefix_index/none.hpp");
  static_assert(
      requires(const P& p, std::span<const TokenId> t, std::uint64_t s, std::vector<BlockId>& out) {
        p.match(t, s, out);
      },
      "quire: prefix_index: the policy has no `match(std::span<const TokenId>, "
      "std::uint64_t salt, std::vector<BlockId>&) const`; smallest model: "
      "quire/prefix_index/none.hpp");
  static_assert(
      requires(P p, std::optional<BlockId> parent, std::span<const TokenId> t, std::uint64_t s,
               BlockId b) {
        { p.insert(parent, t, s, b) } -> std::same_as<bool>;
      },
      "quire: prefix_index: the policy has no `bool insert(std::optional<BlockId> parent, "
      "std::span<const TokenId>, std::uint64_t salt, BlockId)`; smallest model: "
      "quire/prefix_index/none.hpp");
  static_assert(
      requires(const P& p, BlockId b) {
        { p.content(b) } -> std::same_as<std::uint64_t>;
      },
      "quire: prefix_index: the policy has no `std::uint64_t content(BlockId) const`; smallest "
      "model: quire/prefix_index/none.hpp");
  static_assert(
      requires(P p, BlockId b) { p.erase(b); },
      "quire: prefix_index: the policy has no `void erase(BlockId)`; smallest model: "
      "quire/prefix_index/none.hpp");
};

template <class P>
struct Eviction : Named<P>, OptionalEviction<P> {
  static_assert(
      std::constructible_from<P, BlockCount>,
      "quire: eviction: the policy cannot be built from a BlockCount (the pool's capacity); "
      "smallest model: quire/eviction/fifo.hpp");
  static_assert(
      requires(P p, BlockId b, const BlockContext& c) { p.on_insert(b, c); },
      "quire: eviction: the policy has no `void on_insert(BlockId, const BlockContext&)`; "
      "smallest model: quire/eviction/fifo.hpp");
  static_assert(
      requires(P p, BlockId b, const BlockContext& c) { p.on_access(b, c); },
      "quire: eviction: the policy has no `void on_access(BlockId, const BlockContext&)`; "
      "smallest model: quire/eviction/fifo.hpp");
  static_assert(
      requires(P p, BlockId b) { p.set_evictable(b, true); },
      "quire: eviction: the policy has no `void set_evictable(BlockId, bool)`; smallest "
      "model: quire/eviction/fifo.hpp");
  static_assert(
      requires(P p, BlockId b) { p.on_remove(b); },
      "quire: eviction: the policy has no `void on_remove(BlockId)`; smallest model: "
      "quire/eviction/fifo.hpp");
  static_assert(
      requires(P p) {
        { p.victim() } -> std::same_as<std::optional<BlockId>>;
      },
      "quire: eviction: the policy has no `std::optional<BlockId> victim()`; smallest "
      "model: quire/eviction/fifo.hpp");
};

template <class P>
struct Admission : Named<P> {
  static_assert(
      std::constructible_from<P, BlockCount>,
      "quire: admission: the policy cannot be built from a BlockCount (the pool's capacity); "
      "smallest model: quire/admission/always.hpp");
  static_assert(
      requires {
        { P::admits_all } -> std::convertible_to<bool>;
      },
      "quire: admission: the policy has no `static constexpr bool admits_all`; smallest model: "
      "quire/admission/always.hpp");
  static_assert(
      requires(P p, const BlockContext& c) { p.on_request(c); },
      "quire: admission: the policy has no `void on_request(const BlockContext&)`; smallest model: "
      "quire/admission/always.hpp");
  static_assert(
      requires(P p, const BlockContext& c, std::optional<std::uint64_t> rival) {
        { p.admit(c, rival) } -> std::same_as<bool>;
      },
      "quire: admission: the policy has no `bool admit(const BlockContext&, "
      "std::optional<std::uint64_t> rival)`; smallest model: quire/admission/always.hpp");
};

template <class P>
struct Offload : Named<P>, OptionalOffload<P> {
  static_assert(
      requires {
        { P::uses_host } -> std::convertible_to<bool>;
      },
      "quire: offload: the policy has no `static constexpr bool uses_host`; smallest model: "
      "quire/offload/recompute.hpp");
  static_assert(
      requires(const P& p, const PreemptionContext& c) {
        { p.on_preempt(c) } -> std::same_as<Preemption>;
      },
      "quire: offload: the policy has no `Preemption on_preempt(const PreemptionContext&) const`; "
      "smallest model: quire/offload/recompute.hpp");
};

/// What a format's keys or values must have, or both where it does not tell them apart.
template <class Side>
struct KvSide : OptionalKvSide<Side> {
  static_assert(
      requires(std::size_t n) {
        { Side::slab_bytes(n, n) } -> std::same_as<std::size_t>;
      },
      "quire: kv_format: the format has no `static std::size_t slab_bytes(std::size_t "
      "block_tokens, "
      "std::size_t head_dim)`; smallest model: quire/kv_format/plain.hpp");
  static_assert(
      requires(std::size_t n) {
        { Side::token_bytes(n) } -> std::same_as<double>;
      },
      "quire: kv_format: the format has no `static double token_bytes(std::size_t head_dim)`; "
      "smallest model: quire/kv_format/plain.hpp");
  static_assert(
      TokenKvSlab<Side> || SealedKvSlab<Side> || !KvSlab<Side>,
      "quire: kv_format: the format has no `static void store(std::byte* slab, std::size_t "
      "block_tokens, std::size_t head_dim, std::size_t slot, const float* values)`, and no "
      "seal with residual in its place; smallest model: quire/kv_format/plain.hpp");
  static_assert(
      requires(const std::byte* slab, std::size_t n, float* out) {
        { Side::load(slab, n, n, n, out) } -> std::same_as<void>;
      },
      "quire: kv_format: the format has no `static void load(const std::byte* slab, std::size_t "
      "block_tokens, std::size_t head_dim, std::size_t slot, float* values)`; smallest model: "
      "quire/kv_format/plain.hpp");
};
template <class P>
struct KvFormat : Named<P>, OptionalKvFormat<P>, KvSide<kv_format::keys_of<P>> {};
template <class P>
requires(!std::same_as<kv_format::keys_of<P>, kv_format::values_of<P>>) struct KvFormat<P>
    : Named<P>,
      OptionalKvFormat<P>,
      KvSide<kv_format::keys_of<P>>,
      KvSide<kv_format::values_of<P>> {
};

template <class P, bool is_class = std::is_class_v<P>>
struct WeightMembers {
  static_assert(
      requires(std::size_t n) {
        { P::panel_bytes(n, n) } -> std::same_as<std::size_t>;
      },
      "quire: weight_format: the format has no `static std::size_t panel_bytes(std::size_t "
      "outputs, "
      "std::size_t inputs)`; smallest model: quire/weight_format/fp32.hpp");
  static_assert(
      requires(std::size_t n) {
        { P::weight_bytes(n) } -> std::same_as<double>;
      },
      "quire: weight_format: the format has no `static double weight_bytes(std::size_t inputs)`; "
      "smallest model: quire/weight_format/fp32.hpp");
  static_assert(
      requires(std::byte * panel, std::size_t n, const float* in) {
        { P::pack(panel, n, n, in) } -> std::same_as<void>;
      },
      "quire: weight_format: the format has no `static void pack(std::byte* panel, std::size_t "
      "outputs, std::size_t inputs, const float* weights)`; smallest model: "
      "quire/weight_format/fp32.hpp");
  static_assert(
      requires(const std::byte* panel, std::size_t n, float* out) {
        { P::unpack(panel, n, n, n, n, out) } -> std::same_as<void>;
      },
      "quire: weight_format: the format has no `static void unpack(const std::byte* panel, "
      "std::size_t outputs, std::size_t inputs, std::size_t first, std::size_t count, float* "
      "values)`; smallest model: quire/weight_format/fp32.hpp");
  static_assert(
      requires(const std::byte* panel, std::size_t n, float* out) {
        { P::read(panel, n, n, n, out) } -> std::same_as<void>;
      },
      "quire: weight_format: the format has no `static void read(const std::byte* panel, "
      "std::size_t outputs, std::size_t inputs, std::size_t output, float* values)`; smallest "
      "model: "
      "quire/weight_format/fp32.hpp");
};
/// float, say: that it has no name is enough.
template <class P>
struct WeightMembers<P, false> {};
template <class P>
struct WeightFormat : Named<P>, OptionalWeightFormat<P>, WeightMembers<P> {};

template <class P>
struct Retention : Named<P>, OptionalRetention<P> {
  static_assert(
      requires {
        { P::keeps_all } -> std::convertible_to<bool>;
      },
      "quire: retention: the policy has no `static constexpr bool keeps_all`; smallest "
      "model: quire/retention/keep_all.hpp");
  static_assert(
      !retention::drops_tokens<P> ||
          std::constructible_from<P, const RetentionLimits&, std::int64_t>,
      "quire: retention: a policy that drops tokens is built from (const RetentionLimits&, "
      "std::int64_t layers); smallest model: quire/retention/sliding_window.hpp");
  static_assert(
      !retention::drops_tokens<P> ||
          requires {
            { P::Compaction::reuses } -> std::convertible_to<bool>;
            { P::Compaction::moves } -> std::convertible_to<bool>;
          },
      "quire: retention: a policy that drops tokens needs `using Compaction = "
      "quire::retention::ReuseHoles`, or another of quire/retention/compaction.hpp; smallest "
      "model: "
      "quire/retention/sliding_window.hpp");
  static_assert(
      !retention::drops_tokens<P> ||
          requires(const P& p, retention::Lane& lane, std::span<const std::int64_t> votes,
                   const retention::LaneStep& step, std::vector<std::uint32_t>& drop) {
            { p.after_step(lane, votes, step, drop) } -> std::same_as<void>;
          },
      "quire: retention: a policy that drops tokens needs `void after_step(retention::Lane&, "
      "std::span<const std::int64_t> votes, const retention::LaneStep&, "
      "std::vector<std::uint32_t>& drop) const`; smallest model: "
      "quire/retention/sliding_window.hpp");
  static_assert(
      !retention::drops_tokens<P> ||
          requires {
            { P::scope } -> std::convertible_to<retention::Scope>;
            { P::reassigns_positions } -> std::convertible_to<bool>;
            { P::Votes::enabled } -> std::convertible_to<bool>;
          },
      "quire: retention: a policy that drops tokens must say its scope, reassigns_positions and "
      "Votes, as quire/retention/concepts.hpp lists them; smallest model: "
      "quire/retention/sliding_window.hpp");
  static_assert(
      !retention::selects_pages<P> || PageSelectingPolicy<P>,
      "quire: retention: a policy that selects pages must offer attends_to_all, bound and choose "
      "as "
      "quire/retention/concepts.hpp lists them; smallest model: quire/retention/quest.hpp");
};

template <class P>
struct Scheduler : Named<P>, OptionalScheduler<P> {
  static_assert(
      std::constructible_from<P, const SchedulerLimits&>,
      "quire: scheduler: the policy cannot be built from a SchedulerLimits; smallest model: "
      "quire/scheduler/fcfs.hpp");
  static_assert(
      requires {
        { P::dynamic_rank } -> std::convertible_to<bool>;
      },
      "quire: scheduler: the policy has no `static constexpr bool dynamic_rank`; derive from "
      "quire::scheduler::ArrivalOrder; smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires {
        { P::drains } -> std::convertible_to<bool>;
      },
      "quire: scheduler: the policy has no `static constexpr bool drains`; derive from "
      "quire::scheduler::ArrivalOrder; smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires {
        { P::pads } -> std::convertible_to<bool>;
      },
      "quire: scheduler: the policy has no `static constexpr bool pads`; derive from "
      "quire::scheduler::ArrivalOrder; smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires(const P& p, const SequenceGroup& g, Seconds now) {
        { p.rank(g, now) } -> std::convertible_to<double>;
      },
      "quire: scheduler: the policy has no `double rank(const SequenceGroup&, Seconds now) const`; "
      "smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires(const P& p, const BatchState& s, const SequenceGroup& g) {
        { p.admit(s, g) } -> std::same_as<quire::Admission>;
      },
      "quire: scheduler: the policy has no `Admission admit(const BatchState&, const "
      "SequenceGroup&) "
      "const`; smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires(const P& p, const BatchState& s, Tokens remaining) {
        { p.allot(s, remaining) } -> std::same_as<Tokens>;
      },
      "quire: scheduler: the policy has no `Tokens allot(const BatchState&, Tokens remaining) "
      "const`; smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires(const P& p, const BatchState& s) {
        { p.wake_at(s) } -> std::same_as<std::optional<Seconds>>;
      },
      "quire: scheduler: the policy has no `std::optional<Seconds> wake_at(const BatchState&) "
      "const`; smallest model: quire/scheduler/fcfs.hpp");
  static_assert(
      requires(P p, SchedulerEvent event, const SequenceGroup& g, Tokens n) {
        { p.charge(event, g, n) } -> std::same_as<void>;
      },
      "quire: scheduler: the policy has no `void charge(SchedulerEvent, const SequenceGroup&, "
      "Tokens)`; smallest model: quire/scheduler/fcfs.hpp");
};

template <class P>
struct Speculation : Named<P>, OptionalSpeculation<P> {
  static_assert(
      requires {
        { P::most } -> std::convertible_to<Tokens>;
      },
      "quire: speculation: the policy has no `static constexpr Tokens most`, the drafts a sequence "
      "and step at most; smallest model: quire/speculation/prompt_lookup.hpp");
  static_assert(
      std::default_initializable<P> && (speculation::drafts_by_model<P> ||
                                        requires(const P& p, std::span<const TokenId> text,
                                                 Tokens most, std::vector<TokenId>& drafts) {
                                          { p.propose(text, most, drafts) } -> std::same_as<void>;
                                        }),
      "quire: speculation: the policy has no `void propose(std::span<const TokenId> text, Tokens "
      "most, std::vector<TokenId>& drafts) const`; smallest model: "
      "quire/speculation/prompt_lookup.hpp");
};

template <class C>
struct Compatible {
  static constexpr bool reservation_shares_blocks =
      !(C::Reservation::contiguous && C::PrefixIndex::enabled);
  static_assert(reservation_shares_blocks,
                "quire: prefix_index: blocks of a contiguous reservation cannot be shared; use "
                "quire::prefix_index::None or quire::reservation::OnDemand");
  static_assert(!(never_preempts<typename C::Scheduler> && !C::Reservation::contiguous),
                "quire: scheduler: it never preempts, so it needs a reservation for all of a "
                "request; use a contiguous reservation or quire::scheduler::Fcfs");
  static_assert(!(preempts_by_rank<typename C::Scheduler> && C::Reservation::contiguous),
                "quire: scheduler: it preempts, and a contiguous reservation is not given back "
                "half-way; use quire::reservation::OnDemand");
  static_assert(
      !(C::PrefixIndex::enabled && retention::drops_tokens<typename C::Retention>),
      "quire: retention: a block whose tokens were dropped cannot be found by its text; use "
      "quire::retention::KeepAll or quire::prefix_index::None");
  static_assert(!(C::Reservation::contiguous && retention::drops_tokens<typename C::Retention>),
                "quire: retention: a contiguous reservation is not given back in parts; use "
                "quire::reservation::OnDemand or quire::retention::KeepAll");
  static_assert(incompatible_because<C>.empty(),
                "quire: the configuration combines slots that exclude each other; "
                "quire::incompatible_because<C> says why");
};

template <class C>
struct Policies : Reservation<typename C::Reservation>,
                  PrefixIndex<typename C::PrefixIndex>,
                  Eviction<typename C::Eviction>,
                  Admission<typename C::Admission>,
                  Offload<typename C::Offload>,
                  KvFormat<typename C::KvFormat>,
                  WeightFormat<typename C::WeightFormat>,
                  Retention<typename C::Retention>,
                  Scheduler<typename C::Scheduler>,
                  Speculation<speculation_of<C>>,
                  Compatible<C> {};
struct Nothing {};
template <class C, bool filled = FillsAllSlots<C>>
struct PoliciesIfFilled : Nothing {};
template <class C>
struct PoliciesIfFilled<C, true> : Policies<C> {};

/// Everything an engine needs of its configuration, checked in the order in which a reader would.
template <class C>
struct Configuration : Named<C>, Slots<C>, PoliciesIfFilled<C> {};

}  // namespace quire::explain
