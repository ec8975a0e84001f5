#pragma once

#include <concepts>
#include <string_view>

#include <quire/executor/step.hpp>

namespace quire {

/// What an executor offers once it is bound to an engine's configuration.
/// execute(plan, result): runs the plan's swaps and copies, then its sequences as one batch, and
/// leaves one entry per sequence in the result. It makes no decision of its own: which sequence
/// runs, with which blocks, was settled by the control plane. needs_tokens: whether
/// SequencePlan::history must hold real token ids.
template <class E>
concept BoundExecutor = requires(E executor, const StepPlan& plan, StepResult& result) {
  { E::name } -> std::convertible_to<std::string_view>;
  { E::needs_tokens } -> std::convertible_to<bool>;
  { executor.execute(plan, result) } -> std::same_as<void>;
};

}  // namespace quire
