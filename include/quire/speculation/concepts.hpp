#pragma once

#include <concepts>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

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
///
/// Drafts take what nobody else wants of a step's token budget, so that no decode and no prompt waits
/// for them. They never cost anybody else memory: where blocks are short they are dropped before a
/// sequence is preempted for them.
template <class P>
concept SpeculationPolicy = std::default_initializable<P> &&
    requires(const P& policy, std::span<const TokenId> text, Tokens most,
             std::vector<TokenId>& drafts) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::most } -> std::convertible_to<Tokens>;
  { policy.propose(text, most, drafts) } -> std::same_as<void>;
};

namespace speculation {

/// Whether a policy ever guesses.
template <class P>
inline constexpr bool guesses = Tokens{P::most} > Tokens{0};

}  // namespace speculation
}  // namespace quire
