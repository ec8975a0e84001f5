// mechanism: the answers that every scheduler in order of arrival gives alike.
#pragma once

#include <concepts>
#include <limits>
#include <optional>

#include <quire/scheduler/concepts.hpp>

namespace quire::scheduler {

/// First come, first served with whole prompts, whoever has a seat; a base that policies derive from to
/// answer what they answer otherwise: rank, whom to admit, how many tokens.
class ArrivalOrder {
 public:
  static constexpr bool dynamic_rank = false;
  static constexpr bool drains = false;
  static constexpr bool pads = false;

  explicit ArrivalOrder(const SchedulerLimits& limits) : limits_(limits) {}

  [[nodiscard]] double rank(const SequenceGroup&, Seconds) const { return 0; }

  [[nodiscard]] Admission admit(const BatchState& state, const SequenceGroup& group) const {
    return has_seats(state, group) ? Admission::admit : Admission::hold;
  }
  /// All of it, if the step has room; a prompt longer than the budget runs in a step of its own.
  [[nodiscard]] Tokens allot(const BatchState& state, Tokens remaining) const {
    const bool fits = state.batched_tokens + remaining <= limits_.max_batched_tokens;
    return fits || state.batched_tokens == Tokens{0} ? remaining : Tokens{0};
  }
  [[nodiscard]] std::optional<Seconds> wake_at(const BatchState&) const { return std::nullopt; }
  void charge(SchedulerEvent, const SequenceGroup&, Tokens) {}

 protected:
  /// A time that does not come.
  static constexpr Seconds never = std::numeric_limits<double>::infinity();
  [[nodiscard]] bool has_seats(const BatchState& state, const SequenceGroup& group) const {
    return state.running_sequences + group.running_sequences() <= limits_.max_sequences ||
           state.running_sequences == 0;
  }
  SchedulerLimits limits_;
};

/// Whether a policy does anything when it is charged: all do but those whose charge() is
/// ArrivalOrder's. Running sequences of the others need not be shown to it token by token.
template <class Policy>
inline constexpr bool keeps_accounts = [] {
  using Nothing = void (ArrivalOrder::*)(SchedulerEvent, const SequenceGroup&, Tokens);
  if constexpr (requires {
                  { &Policy::charge } -> std::same_as<Nothing>;
                }) {
    return false;
  } else {
    return true;
  }
}();

}  // namespace quire::scheduler
