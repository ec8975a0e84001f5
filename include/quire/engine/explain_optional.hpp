#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quire/engine/compatible.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/prefix_index/concepts.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/scheduler/concepts.hpp>
#include <quire/speculation/concepts.hpp>
#include <quire/weight_format/codec.hpp>

/// Members that a policy may leave out are found by their name and their signature, so that one of that
/// name which cannot be used so would be passed over, and an ablation measure nothing. Here each is
/// refused in one sentence. A name that is wrong cannot be known.
namespace quire::explain {

namespace detail {
template <class P, class Names>
struct Both : P, Names {};
}  // namespace detail

/// Whether another class can derive from P.
template <class P>
inline constexpr bool open = std::is_class_v<P> && !std::is_final_v<P>;

/// P with the members of Names beside its own. Of a name that P has too, `&Beside<P, Names>::member` is
/// ambiguous, whatever P means by it: overloaded, a template, inherited, private. So P lacks a member
/// exactly where `requires { &Beside<P, Names>::member; } == open<P>`; where nothing can derive from P, the
/// question goes to P itself, which answers it for a member that is public and one alone.
template <class P, class Names>
using Beside = std::conditional_t<open<P>, detail::Both<P, Names>, P>;

struct ConfigurationNames {
  char Speculation;
};
template <class C>
struct OptionalSlots {
  static_assert(
      requires { &Beside<C, ConfigurationNames>::Speculation; } == open<C> ||
          requires { typename C::Speculation; },
      "quire: speculation: the configuration's Speculation is no public `using Speculation "
      "= ...`, so it would be passed over; smallest model: quire/presets/vllm.hpp");
};

struct PrefixIndexNames {
  char match_part;
};
template <class P>
struct OptionalPrefixIndex {
  static_assert(
      requires { &Beside<P, PrefixIndexNames>::match_part; } == open<P> || MatchesParts<P> ||
          !PrefixIndexPolicy<P>,
      "quire: prefix_index: match_part is no public `std::optional<PartOfBlock> match_part("
      "std::optional<BlockId> parent, std::span<const TokenId>, std::uint64_t salt) const`, "
      "so it would be passed over; smallest model: quire/prefix_index/token_radix_tree.hpp");
};

struct EvictionNames {
  char needs_next_use, prefetch;
};
template <class P>
struct OptionalEviction {
  static_assert(
      requires { &Beside<P, EvictionNames>::needs_next_use; } == open<P> ||
          requires { typename std::bool_constant<P::needs_next_use>; },
      "quire: eviction: needs_next_use is no public `static constexpr bool needs_next_use`; "
      "smallest model: quire/eviction/belady.hpp");
  static_assert(
      requires { &Beside<P, EvictionNames>::prefetch; } == open<P> || eviction::FetchesNames<P>,
      "quire: eviction: prefetch is no public `void prefetch(std::uint64_t content) const`, so it "
      "would never be called; smallest model: quire/eviction/two_q.hpp");
};

struct OffloadNames {
  char uses_disk, keeps_evicted, look_ahead, overlaps, swaps_ahead, keep_free, blocks_ahead,
      blocks_to_fetch;
};
template <class P>
struct OptionalOffload {
  using Own = Beside<P, OffloadNames>;
  static_assert(
      requires { &Own::uses_disk; } == open<P> ||
          requires { typename std::bool_constant<P::uses_disk>; },
      "quire: offload: uses_disk is no public `static constexpr bool uses_disk`; smallest "
      "model: quire/offload/tiered.hpp");
  static_assert(
      requires { &Own::keeps_evicted; } == open<P> ||
          requires { typename std::bool_constant<P::keeps_evicted>; },
      "quire: offload: keeps_evicted is no public `static constexpr bool keeps_evicted`; "
      "smallest model: quire/offload/host_cache.hpp");
  static_assert(
      requires { &Own::overlaps; } == open<P> ||
          requires { typename std::bool_constant<P::overlaps>; },
      "quire: offload: overlaps is no public `static constexpr bool overlaps`; smallest "
      "model: quire/offload/overlapped_swap.hpp");
  static_assert(
      requires { &Own::look_ahead; } == open<P> ||
          requires { typename std::integral_constant<std::int64_t, P::look_ahead>; },
      "quire: offload: look_ahead is no public `static constexpr int look_ahead`; smallest "
      "model: quire/offload/tiered_look_ahead.hpp");
  static_assert(
      requires { &Own::swaps_ahead; } == open<P> ||
          requires { typename std::bool_constant<P::swaps_ahead>; },
      "quire: offload: swaps_ahead is no public `static constexpr bool swaps_ahead`; "
      "smallest model: quire/offload/proactive_swap.hpp");
  // A policy derived from one that swaps ahead may say that it does not.
  static_assert((
                    requires { &Own::keep_free; } == open<P> &&
                    requires { &Own::blocks_ahead; } == open<P>) ||
                    requires { P::swaps_ahead; },
                "quire: offload: keep_free and blocks_ahead are asked of a policy that swaps ahead "
                "alone; declare `static constexpr bool swaps_ahead`; smallest model: "
                "quire/offload/proactive_swap.hpp");
  static_assert(
      !requires { typename std::enable_if_t<P::swaps_ahead>; } ||
          requires(P policy, BlockCount blocks, Seconds seconds) {
            { policy.keep_free(blocks) } -> std::convertible_to<BlockCount>;
            { policy.blocks_ahead(seconds, seconds) } -> std::convertible_to<BlockCount>;
          },
      "quire: offload: a policy that swaps ahead needs `BlockCount keep_free(BlockCount capacity)` "
      "and `BlockCount blocks_ahead(Seconds step, Seconds block)`, both public; smallest model: "
      "quire/offload/proactive_swap.hpp");
  static_assert(
      requires { &Own::blocks_to_fetch; } == open<P> ||
          requires(const P& policy, std::span<const FetchCandidate> candidates) {
            { policy.blocks_to_fetch(candidates) } -> std::convertible_to<std::size_t>;
          },
      "quire: offload: blocks_to_fetch is no public `std::size_t blocks_to_fetch(std::span<const "
      "FetchCandidate>) const`, so it would never be called; smallest model: "
      "quire/offload/cost_based.hpp");
};

struct KvSideNames {
  char residual, seal, to_basis, from_basis, before_rotation, refusal, byte_floats, copy,
      tokens_together, fit, fit_floats, fits_layer;
};
/// Functions of a format go into a table of pointers (kv_format/codec.hpp), which says their types.
template <class Side>
struct OptionalKvSide {
  using Own = Beside<Side, KvSideNames>;
  using Codec = kv_format::SideCodec;
  static_assert(
      requires { &Own::residual; } == open<Side> ||
          requires { typename std::integral_constant<std::size_t, Side::residual>; },
      "quire: kv_format: residual is no public `static constexpr std::size_t residual`; "
      "smallest model: quire/kv_format/kivi.hpp");
  static_assert(
      requires { &Own::seal; } == open<Side> || SealedKvSlab<Side> || !KvSlab<Side>,
      "quire: kv_format: seal is no public `static void seal(std::byte* slab, std::size_t "
      "block_tokens, std::size_t head_dim, const float* rows)` with residual beside it; "
      "smallest model: quire/kv_format/kivi.hpp");
  static_assert(
      (
          requires { &Own::to_basis; } == open<Side> &&
          requires { &Own::from_basis; } == open<Side>) ||
          requires {
            static_cast<decltype(Codec::to_basis)>(&Side::to_basis);
            static_cast<decltype(Codec::from_basis)>(&Side::from_basis);
          },
      "quire: kv_format: a change of basis is two, public `static void to_basis(float* x, "
      "std::size_t head_dim)` and `static void from_basis(float* x, std::size_t "
      "head_dim)`; smallest model: quire/kv_format/rotated.hpp");
  static_assert(
      requires { &Own::before_rotation; } == open<Side> ||
          requires { typename std::bool_constant<Side::before_rotation>; },
      "quire: kv_format: before_rotation is no public `static constexpr bool "
      "before_rotation`; smallest model: quire/kv_format/before_rotation.hpp");
  static_assert(
      requires { &Own::refusal; } == open<Side> ||
          requires { static_cast<decltype(Codec::refusal)>(&Side::refusal); },
      "quire: kv_format: refusal is no public `static std::string_view refusal(std::size_t "
      "block_tokens, std::size_t head_dim)`, so it would never be asked; smallest model: "
      "quire/kv_format/rows.hpp");
  // Whether a format has one may depend on what it packs (kv_format/rows.hpp).
  static_assert(
      !requires { &Side::code_layout; } ||
          requires { static_cast<decltype(Codec::code_layout)>(&Side::code_layout); },
      "quire: kv_format: code_layout is no public `static CodeLayout "
      "code_layout(std::size_t block_tokens, std::size_t head_dim)`, so it would be passed "
      "over; smallest model: quire/kv_format/rows.hpp");
  static_assert(
      requires { &Own::byte_floats; } == open<Side> ||
          requires { static_cast<decltype(Codec::byte_floats)>(&Side::byte_floats); },
      "quire: kv_format: byte_floats is no public `static simd::ByteFloatLayout "
      "byte_floats(std::size_t head_dim)`, so it would be passed over; smallest model: "
      "quire/kv_format/fp8_per_token_head.hpp");
  static_assert(
      requires { &Own::copy; } == open<Side> ||
          requires { static_cast<decltype(Codec::copy)>(&Side::copy); },
      "quire: kv_format: copy is no public `static void copy(const std::byte* from, "
      "std::size_t from_slot, std::byte* to, std::size_t to_slot, std::size_t "
      "block_tokens, std::size_t head_dim)`; smallest model: quire/kv_format/rows.hpp");
  static_assert(
      requires { &Own::tokens_together; } == open<Side> ||
          requires { typename std::integral_constant<std::size_t, Side::tokens_together>; },
      "quire: kv_format: tokens_together is no public `static constexpr std::size_t "
      "tokens_together`; smallest model: quire/kv_format/channel_groups.hpp");
  static_assert(
      (
          requires { &Own::fit; } == open<Side> && requires { &Own::fit_floats; } == open<Side>) ||
          FittedKvSlab<Side> || !KvSlab<Side>,
      "quire: kv_format: a format that is fitted needs public `fit_floats(head_dim)`, `fit(rows, "
      "count, head_dim, fitted)`, and store and load with `const float* fitted` before the slab, "
      "all "
      "static; smallest model: quire/kv_format/fp8_per_tensor.hpp");
  static_assert(
      requires { &Own::fits_layer; } == open<Side> || (requires {
        typename std::bool_constant<Side::fits_layer>;
      } && (FittedKvSlab<Side> || !KvSlab<Side>)),
      "quire: kv_format: fits_layer is no public `static constexpr bool fits_layer` beside fit; "
      "smallest model: quire/kv_format/fp8_per_tensor.hpp");
};

struct KvFormatNames {
  char Skipped, skips;
};
template <class P>
struct OptionalKvFormat {
  using Own = Beside<P, KvFormatNames>;
  static_assert(
      (
          requires { &Own::Skipped; } == open<P> && requires { &Own::skips; } == open<P>) ||
          (
              requires { typename P::Skipped; } &&
              requires { static_cast<decltype(kv_format::KvCodec::skips)>(&P::skips); }),
      "quire: kv_format: a format that leaves layers to another needs public `using Skipped = ...` "
      "and `static bool skips(std::size_t layer, std::size_t layers)`; smallest model: "
      "quire/kv_format/skip_layers.hpp");
};

struct WeightFormatNames {
  char Head;
};
/// Whether a weight format has these functions may depend on what it packs (weight_format/row_blocks.hpp),
/// so they are looked for in the format itself.
template <class P>
struct OptionalWeightFormat {
  using Codec = weight_format::WeightCodec;
  static_assert(
      !requires { &P::add_few; } ||
          requires { static_cast<decltype(Codec::add_few)>(&P::add_few); },
      "quire: weight_format: add_few is no public `static void add_few(const std::byte* "
      "panel, std::size_t outputs, std::size_t inputs, const float* x, std::size_t "
      "x_stride, std::size_t rows, float* y, std::size_t y_stride)`, so it would never be "
      "called; smallest model: quire/weight_format/row_blocks.hpp");
  static_assert(
      (
          !requires { &P::row_bytes; } ||
          requires { static_cast<decltype(Codec::row_bytes)>(&P::row_bytes); }) &&
          (
              !requires { &P::pack_row; } ||
              requires { static_cast<decltype(Codec::pack_row)>(&P::pack_row); }) &&
          (
              !requires { &P::add_products; } ||
              requires { static_cast<decltype(Codec::add_products)>(&P::add_products); }) &&
          (!requires(const std::byte* bytes, std::size_t n, float* y) {
            P::add_products(bytes, n, n, bytes, n, y, n);
          } ||
           ProductWeightFormat<P>),
      "quire: weight_format: a format with a product of its own needs row_bytes, pack_row and "
      "add_products as quire/weight_format/concepts.hpp lists them; smallest model: "
      "quire/weight_format/row_blocks.hpp");
  static_assert(
      requires { &Beside<P, WeightFormatNames>::Head; } == open<P> ||
          requires { typename P::Head; },
      "quire: weight_format: Head is no public `using Head = ...`; smallest model: "
      "quire/weight_format/linear_only.hpp");
  static_assert(
      !requires { &P::row_code_bits; } ||
          requires { typename std::integral_constant<unsigned, P::row_code_bits>; },
      "quire: weight_format: row_code_bits is no public `static constexpr unsigned "
      "row_code_bits`; smallest model: quire/weight_format/int_per_channel.hpp");
};

struct RetentionNames {
  char per_layer_budgets, selects_pages, attends_to_all, chooses_highest;
};
template <class P>
struct OptionalRetention {
  using Own = Beside<P, RetentionNames>;
  static_assert(
      requires { &Own::per_layer_budgets; } == open<P> ||
          requires { typename std::bool_constant<P::per_layer_budgets>; },
      "quire: retention: per_layer_budgets is no public `static constexpr bool "
      "per_layer_budgets`; smallest model: quire/retention/pyramid_kv.hpp");
  static_assert(
      requires { &Own::selects_pages; } == open<P> ||
          requires { typename std::bool_constant<P::selects_pages>; },
      "quire: retention: selects_pages is no public `static constexpr bool selects_pages`; "
      "smallest model: quire/retention/quest.hpp");
  static_assert(
      requires { &Own::attends_to_all; } == open<P> || requires { P::selects_pages; },
      "quire: retention: attends_to_all is asked of a policy that selects pages alone; "
      "declare `static constexpr bool selects_pages`; smallest model: "
      "quire/retention/quest.hpp");
  static_assert(
      requires { &Own::chooses_highest; } == open<P> ||
          requires { typename std::bool_constant<P::chooses_highest>; },
      "quire: retention: chooses_highest is no public `static constexpr bool "
      "chooses_highest`; smallest model: quire/retention/quest.hpp");
  static_assert(
      !requires { typename std::enable_if_t<P::chooses_highest>; } ||
          requires(const P& policy) {
            { policy.pages() } -> std::convertible_to<std::int64_t>;
          },
      "quire: retention: a policy that chooses_highest needs `std::int64_t pages() const`, "
      "public; smallest model: quire/retention/quest.hpp");
};

struct SchedulerNames {
  char preemptive, never_preempts, wants_cached_prefix, next_turn, stands_until, client_rank, reads;
};
template <class P>
struct OptionalScheduler {
  using Own = Beside<P, SchedulerNames>;
  static_assert(
      requires { &Own::preemptive; } == open<P> ||
          requires { typename std::bool_constant<P::preemptive>; },
      "quire: scheduler: preemptive is no public `static constexpr bool preemptive`; "
      "smallest model: quire/scheduler/priority.hpp");
  static_assert(
      requires { &Own::never_preempts; } == open<P> ||
          requires { typename std::bool_constant<P::never_preempts>; },
      "quire: scheduler: never_preempts is no public `static constexpr bool "
      "never_preempts`; smallest model: quire/scheduler/orca.hpp");
  static_assert(
      requires { &Own::wants_cached_prefix; } == open<P> ||
          requires { typename std::bool_constant<P::wants_cached_prefix>; },
      "quire: scheduler: wants_cached_prefix is no public `static constexpr bool "
      "wants_cached_prefix`; smallest model: quire/scheduler/longest_prefix.hpp");
  static_assert(
      !requires { typename std::enable_if_t<P::wants_cached_prefix && !P::dynamic_rank>; },
      "quire: scheduler: a policy that wants_cached_prefix ranks by what changes; it needs "
      "`static constexpr bool dynamic_rank = true`; smallest model: "
      "quire/scheduler/longest_prefix.hpp");
  static_assert(
      requires { &Own::next_turn; } == open<P> ||
          requires(const P& policy, const SequenceGroup& group, Seconds now) {
            { policy.next_turn(group, now) } -> std::same_as<Seconds>;
          },
      "quire: scheduler: next_turn is no public `Seconds next_turn(const SequenceGroup&, Seconds "
      "now) const`, so it would never be called; smallest model: quire/scheduler/mlfq.hpp");
  static_assert(
      requires { &Own::stands_until; } == open<P> ||
          requires(const P& policy, const SequenceGroup& group, Seconds now) {
            requires quire::detail::belongs_to_class<decltype(&P::stands_until)>;
            { policy.stands_until(group, group, now) } -> std::same_as<Seconds>;
          },
      "quire: scheduler: stands_until is no public `Seconds stands_until(const SequenceGroup&, "
      "const "
      "SequenceGroup&, Seconds now) const`, or it is several or static, so it would be passed "
      "over; "
      "smallest model: quire/scheduler/sjf.hpp");
  static_assert(
      requires { &Own::client_rank; } == open<P> ||
          requires(const P& policy, const SequenceGroup& group) {
            requires quire::detail::belongs_to_class<decltype(&P::client_rank)>;
            { policy.client_rank(group) } -> std::convertible_to<double>;
          },
      "quire: scheduler: client_rank is no public `double client_rank(const SequenceGroup&) "
      "const`, "
      "or it is several or static, so it would be passed over; smallest model: "
      "quire/scheduler/vtc.hpp");
  static_assert(
      requires { &Own::reads; } == open<P> ||
          requires {
            typename std::integral_constant<std::size_t,
                                            std::span<const std::string_view>(P::reads).size()>;
          },
      "quire: scheduler: reads is no public `static constexpr std::array<std::string_view, n> "
      "reads`, so it would be passed over; see quire/scheduler/concepts.hpp");
};

struct SpeculationNames {
  char drafts_by_model;
};
template <class P>
struct OptionalSpeculation {
  static_assert(
      requires { &Beside<P, SpeculationNames>::drafts_by_model; } == open<P> ||
          requires { typename std::bool_constant<P::drafts_by_model>; },
      "quire: speculation: drafts_by_model is no public `static constexpr bool "
      "drafts_by_model`; smallest model: quire/speculation/draft_model.hpp");
};

}  // namespace quire::explain
