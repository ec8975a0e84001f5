// mechanism: what executors keep of the draws after drafts
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <quire/executor/step.hpp>

namespace quire::executor {

/// How many of a sequence's drafts held: those before the first that is not what was drawn in its place.
/// \shape draws (1 + drafts, or fewer where a draft did not hold before)
[[nodiscard]] inline std::uint32_t held_drafts(const SequencePlan& s, std::span<const Draw> draws) {
  const auto first = static_cast<std::size_t>((s.computed + s.tokens).value - s.drafts);
  std::uint32_t held = 0;
  while (held < static_cast<std::uint32_t>(s.drafts) &&
         draws[held].token == s.history[first + held]) {
    ++held;
  }
  return held;
}

/// Leaves out the draws behind drafts that did not hold, and closes the gaps.
/// \shape held (rows that draw); result.begin as if all had held
inline void leave_out_rejected(const StepPlan& plan, std::span<const std::uint32_t> held,
                               StepResult& result) {
  std::size_t row = 0, to = 0;
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    const std::size_t from = result.begin[i];
    result.begin[i] = static_cast<std::uint32_t>(to);
    if (plan.sequences[i].draws <= 0) continue;
    const std::size_t count = static_cast<std::size_t>(plan.sequences[i].draws) + held[row++];
    std::copy_n(result.draws.begin() + static_cast<std::ptrdiff_t>(from), count,
                result.draws.begin() + static_cast<std::ptrdiff_t>(to));
    to += count;
  }
  result.begin.back() = static_cast<std::uint32_t>(to);
  result.draws.resize(to);
}

}  // namespace quire::executor
