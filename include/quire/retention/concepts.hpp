#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/compaction.hpp>
#include <quire/retention/lane.hpp>
#include <quire/retention/limits.hpp>
#include <quire/retention/votes.hpp>

namespace quire {

/// Which tokens of a sequence keep their keys and values while it runs.
/// keeps_all: nothing is dropped, so that blocks can be shared and found again by their text.
template <class P>
concept RetentionPolicy = requires {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::keeps_all } -> std::convertible_to<bool>;
};

/// A policy that drops tokens (keeps_all is false); built from (limits, layers of the model).
/// - scope: what shares one set of kept tokens.
/// - Votes: what it wants to know of the attention weights; NoVotes costs nothing.
/// - Compaction: what becomes of the slots of dropped tokens: LeaveHoles, ReuseHoles or CloseHoles
///   (retention/compaction.hpp), which says whether it `reuses` and `moves`.
/// - reassigns_positions: keys are turned so that their distances are those in the cache, as if the
///   dropped tokens had never been; needs rotary positions.
/// - after_step(lane, votes, step, drop): learns from one step and names the entries to drop, by
///   index, in rising order. votes: one an entry, or empty where nothing attends (simulated time):
///   then all votes are 0. Entries that are as good as each other go oldest first. Of the lane a policy
///   writes an entry's score and the history alone; its slots are the engine's.
/// Optional: `static constexpr bool per_layer_budgets = true`: layers keep different numbers of tokens, and
/// are followed one by one in simulated time too.
template <class P>
concept DroppingPolicy =
    RetentionPolicy<P> && !P::keeps_all &&
    std::constructible_from<P, const RetentionLimits&, std::int64_t> &&
    requires(const P& policy, retention::Lane& lane, std::span<const std::int64_t> votes,
             const retention::LaneStep& step, std::vector<std::uint32_t>& drop) {
  { P::scope } -> std::convertible_to<retention::Scope>;
  { P::reassigns_positions } -> std::convertible_to<bool>;
  { P::Votes::enabled } -> std::convertible_to<bool>;
  { P::Compaction::reuses } -> std::convertible_to<bool>;
  { P::Compaction::moves } -> std::convertible_to<bool>;
  { policy.after_step(lane, votes, step, drop) } -> std::same_as<void>;
};

/// A policy that drops nothing, but whose decoding queries attend to some pages alone; a page is a
/// block. Built from (limits, tokens of a page); has `static constexpr bool selects_pages = true`.
/// - attends_to_all(layer, pages): whether nothing is chosen there.
/// - bound(query, smallest, largest): a page's score, from the range of its keys' dimensions; a number where
///   these are.
/// - choose(bounds, pages): the pages to attend to, the last one among them, in rising order.
/// Optional, for executors that choose where the scores are: `static constexpr bool chooses_highest =
/// true`, a promise that bound() and choose() are those of retention::Quest, and pages() const, how many.
template <class P>
concept PageSelectingPolicy = RetentionPolicy<P> && P::keeps_all && P::selects_pages &&
    std::constructible_from<P, const RetentionLimits&, Tokens> &&
    requires(const P& policy, std::int64_t layer, std::size_t pages, std::span<const float> floats,
             const float* range, std::vector<std::uint32_t>& out) {
  { policy.attends_to_all(layer, pages) } -> std::same_as<bool>;
  { policy.bound(floats, range, range) } -> std::same_as<float>;
  { policy.choose(floats, out) } -> std::same_as<void>;
};

namespace retention {
/// Whether P drops tokens; false also for what does not say.
template <class P>
inline constexpr bool drops_tokens = [] {
  if constexpr (requires { P::keeps_all; }) {
    return !P::keeps_all;
  } else {
    return false;
  }
}();

/// Whether P selects pages.
template <class P>
inline constexpr bool selects_pages = [] {
  if constexpr (requires { P::selects_pages; }) {
    return static_cast<bool>(P::selects_pages);
  } else {
    return false;
  }
}();

/// Whether the layers of a policy keep different numbers of tokens.
template <class P>
inline constexpr bool per_layer_budgets = [] {
  if constexpr (requires { P::per_layer_budgets; }) {
    return static_cast<bool>(P::per_layer_budgets);
  } else {
    return false;
  }
}();
}  // namespace retention

}  // namespace quire
