#pragma once

#include <concepts>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {
namespace speculation {

/// Whether the executor makes a policy's drafts with a second, smaller model. Such a policy proposes
/// nothing itself: a model has memory of its own for each sequence and takes time, which are the
/// executor's, not the control plane's.
template <class P>
inline constexpr bool drafts_by_model = requires {
  requires static_cast<bool>(P::drafts_by_model);
};

}  // namespace speculation

/// Guesses the tokens that a sequence will have next, so that one step can check several of them.
///
/// A sequence that decodes and has drafts computes its last token and all drafts in one step. The
/// executor draws after each of them, as it would have token by token, and keeps the draws up to the
/// first that differs from the draft in its place; that draw is kept too. So texts and
/// log-probabilities are what they are without speculation, and a good guess saves a step for each
/// token that it gets right.
///
/// - name: the word of tables and command lines.
/// - most: drafts a sequence and step at most; 0: the policy never guesses, and nobody asks.
/// - propose(text, most, drafts): appends up to `most` guesses of what follows `text`, which holds the
///   prompt and all that was generated; `most` is below the policy's own where a sequence is about
///   to end. `drafts` comes empty. Equal text gives equal guesses: no clock, no state, no global.
/// - or, in place of propose, `static constexpr bool drafts_by_model = true`: as many drafts as are allowed, which the
///   executor's draft model makes when the step runs (SequencePlan::to_guess).
///
/// Drafts take what nobody else wants of a step's token budget, so that no decode and no prompt waits
/// for them. They never cost anybody else memory: where blocks are short they are dropped before a
/// sequence is preempted for them.
template <class P>
concept SpeculationPolicy = std::default_initializable<P> && requires {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::most } -> std::convertible_to<Tokens>;
} &&(speculation::drafts_by_model<P> || requires(const P& policy, std::span<const TokenId> text,
                                                 Tokens most, std::vector<TokenId>& drafts) {
  { policy.propose(text, most, drafts) } -> std::same_as<void>;
});

namespace speculation {

/// Whether a policy ever guesses.
template <class P>
inline constexpr bool guesses = Tokens{P::most} > Tokens{0};

}  // namespace speculation
}  // namespace quire
