#pragma once

#include <string_view>

#include <quire/engine/config.hpp>

namespace quire {

/// Whether a scheduler promises never to preempt (`static constexpr bool never_preempts = true`).
template <class Scheduler>
inline constexpr bool never_preempts = [] {
  if constexpr (requires { Scheduler::never_preempts; }) {
    return static_cast<bool>(Scheduler::never_preempts);
  } else {
    return false;
  }
}();

/// Whether a scheduler exchanges running groups for waiting ones of better rank
/// (`static constexpr bool preemptive = true`).
template <class Scheduler>
inline constexpr bool preempts_by_rank = [] {
  if constexpr (requires { Scheduler::preemptive; }) {
    return static_cast<bool>(Scheduler::preemptive);
  } else {
    return false;
  }
}();

/// Why a configuration's slots do not go together; empty when they do. Sweeps skip such a variant and
/// put the sentence in its row; Engine refuses to compile it.
template <FillsAllSlots C>
inline constexpr std::string_view incompatible_because = [] {
  using namespace std::string_view_literals;
  if (C::Reservation::contiguous && C::PrefixIndex::enabled) {
    return "prefix_index: blocks of a contiguous reservation cannot be shared"sv;
  }
  if (never_preempts<typename C::Scheduler> && !C::Reservation::contiguous) {
    return "scheduler: it never preempts, so it needs a contiguous reservation"sv;
  }
  if (preempts_by_rank<typename C::Scheduler> && C::Reservation::contiguous) {
    return "scheduler: it preempts, and a contiguous reservation is not given back half-way"sv;
  }
  if (C::PrefixIndex::enabled && !C::Retention::keeps_all) {
    return "retention: a block whose tokens were dropped cannot be found by its text"sv;
  }
  return ""sv;
}();

}  // namespace quire
