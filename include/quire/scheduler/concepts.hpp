#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include <quire/core/units.hpp>
#include <quire/scheduler/limits.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// What a scheduler may know while a step is being planned. Time is a value: no policy reads a clock.
struct BatchState {
  Seconds now = 0.0;
  bool idle = true;                 // nothing was running when the step began
  std::int64_t running_groups = 0;  // running, those admitted in this step included
  std::int64_t running_sequences = 0;
  std::int64_t admitted_groups = 0;  // in this step
  std::int64_t waiting_groups = 0;   // not counting those admitted in this step
  Seconds oldest_arrival = 0.0;      // of the waiting ones
  Tokens batched_tokens = 0;         // planned in this step so far
};

enum class Admission { admit, hold };

/// Something a scheduler may keep accounts of. The tokens of each:
/// - arrive: the prompt, once for a request that is queued; one that is refused is never shown;
/// - admit: the prompt, and 0 when it comes back from a recompute preemption;
/// - resume: 0, whenever it joins the running ones, from whichever queue;
/// - prompt_tokens: prompt tokens processed, again after a recompute; output_tokens: tokens generated;
/// - preempt: 0; the group's status says where it went, waiting (recompute) or swapped; again when a
///   swapped one loses what was kept of it, and waits;
/// - finish: 0, once for each that arrived, also when it is cancelled or given up; the status says
///   where it was.
/// So arrivals and preemptions to waiting, less admissions and ends of waiting ones, are the groups
/// that wait.
enum class SchedulerEvent { arrive, admit, resume, prompt_tokens, output_tokens, preempt, finish };

/// Decides who runs. The engine walks the queues and moves the memory; the policy answers questions.
///
/// The order of one step: running groups continue, best rank first, each getting blocks for the tokens
/// that allot() gives it; where blocks run out, the running group of worst rank is preempted. If none
/// was preempted, swapped groups return, then waiting ones are admitted in order of rank until admit()
/// says hold, or memory or the token budget is used up.
///
/// - rank(group, now): smaller runs first; ties go to the earlier arrival.
/// - dynamic_rank: ranks change while a group waits or runs, so queues are sorted in every step.
/// - admit(state, group): whether the best waiting group may join; hold ends admission for this step.
/// - allot(state, remaining): how many of a sequence's remaining tokens it may process in this step, 0
///   to sit it out. Asked for each sequence of a group in turn.
/// - wake_at(state): when nothing runs and admit() holds, the time at which to ask again.
/// - charge(event, group, tokens): accounting; called for each event as it happens.
/// - drains: memory of a batch is given back only when all of it has finished (request-level batching).
/// - preemptive (optional): a waiting or swapped group of better rank takes the place of running ones
///   of worse rank; without it, running groups give way only where blocks run out.
/// - next_turn(group, now) (optional): in how many seconds a group that does not run is expected to,
///   for offload policies that swap ahead.
/// - wants_cached_prefix (optional): before waiting groups are ranked, each one's cached_prefix says how
///   many tokens of it the prefix index would find; needs dynamic_rank.
/// - stands_until(a, b, now) (optional): of two groups that wait, until when the first, which stands before
///   the second now, will do so at the least if neither is charged and of neither another cached_prefix is
///   found. The engine then keeps their order from step to step instead of sorting the queue in each:
///   ranks of groups that wait may depend on time in no other way, and on charges of other groups not at
///   all.
/// - client_rank(group) (optional, in place of it): the rank of all groups of the client that wait; it
///   changes when one of the client's groups is charged, and at no other time.
///   Both count only where they stand in the class of rank() and charge(), or below it.
/// - never_preempts (optional): a promise; such a scheduler needs a contiguous reservation.
/// - pads: all sequences of a batch compute as many tokens as the longest (static batching).
/// - reads (optional): the members of SchedulerLimits that the policy itself reads, of "chunk", "max_batch"
///   and "max_delay": `static constexpr std::array<std::string_view, 1> reads{"chunk"};`. A program then
///   refuses a setting that changes nothing; of a policy that does not say, it cannot know.
///
/// What is optional is found by name: a member of that name that is private, or of another signature, is
/// refused (engine/explain_optional.hpp). A flag may say false.
template <class P>
concept SchedulerPolicy = std::constructible_from<P, const SchedulerLimits&> &&
    requires(P policy, const P& view, const SequenceGroup& group, const BatchState& state, Tokens n,
             SchedulerEvent event) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::dynamic_rank } -> std::convertible_to<bool>;
  { P::drains } -> std::convertible_to<bool>;
  { P::pads } -> std::convertible_to<bool>;
  { view.rank(group, state.now) } -> std::convertible_to<double>;
  { view.admit(state, group) } -> std::same_as<Admission>;
  { view.allot(state, n) } -> std::same_as<Tokens>;
  { view.wake_at(state) } -> std::same_as<std::optional<Seconds>>;
  { policy.charge(event, group, n) } -> std::same_as<void>;
};

namespace detail {

template <class Member>
struct ClassOf {
  using type = void;
};
template <class R, class Class, class... A>
struct ClassOf<R (Class::*)(A...)> {
  using type = Class;
};
template <class R, class Class, class... A>
struct ClassOf<R (Class::*)(A...) const> {
  using type = Class;
};
template <class R, class Class, class... A>
struct ClassOf<R (Class::*)(A...) noexcept> {
  using type = Class;
};
template <class R, class Class, class... A>
struct ClassOf<R (Class::*)(A...) const noexcept> {
  using type = Class;
};
/// Whether it can be told in which class a member is declared.
template <class Member>
inline constexpr bool belongs_to_class = !std::is_void_v<typename ClassOf<Member>::type>;
/// Whether a promise about a scheduler's ranks was made in the class that declares them, or below.
template <class Promise, class P>
inline constexpr bool stands_for =
    std::derived_from<typename ClassOf<Promise>::type, typename ClassOf<decltype(&P::rank)>::type>&&
        std::derived_from<typename ClassOf<Promise>::type,
                          typename ClassOf<decltype(&P::charge)>::type>;

}  // namespace detail

/// Whether a scheduler wants to know how many tokens of a waiting group are cached.
template <class P>
inline constexpr bool wants_cached_prefix = [] {
  if constexpr (requires { P::wants_cached_prefix; }) {
    return static_cast<bool>(P::wants_cached_prefix);
  } else {
    return false;
  }
}();

/// What a scheduler says that it reads of its limits; empty optional where it does not say.
template <class P>
[[nodiscard]] constexpr std::optional<std::span<const std::string_view>> limits_read_by() {
  if constexpr (requires { std::span<const std::string_view>(P::reads); }) {
    return std::span<const std::string_view>(P::reads);
  } else {
    return std::nullopt;
  }
}

/// Whether a scheduler says how long groups that wait keep their order.
template <class P>
inline constexpr bool says_how_long_order_stands = [] {
  if constexpr (requires {
                  &P::rank;
                  &P::charge;
                  &P::stands_until;
                }) {
    return detail::stands_for<decltype(&P::stands_until), P>;
  } else {
    return false;
  }
}();

/// Whether a scheduler ranks clients, not groups.
template <class P>
inline constexpr bool ranks_clients = [] {
  if constexpr (requires {
                  &P::rank;
                  &P::charge;
                  &P::client_rank;
                }) {
    return detail::stands_for<decltype(&P::client_rank), P>;
  } else {
    return false;
  }
}();

}  // namespace quire
