#pragma once

#include <concepts>
#include <string_view>

#include <quire/executor/step.hpp>
#include <quire/model/shape.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/scheduler/limits.hpp>

namespace quire {

/// What moving and making a block costs, for policies that choose by time; 0: not known.
struct TierCosts {
  double flops_per_second = 0;  // of computing a prompt
  Seconds host_block = 0.0;     // to move one block between device and host
  Seconds disk_block = 0.0;     // to read one block from disk
  [[nodiscard]] Seconds fetch(bool on_disk) const { return on_disk ? disk_block : host_block; }
  [[nodiscard]] Seconds compute(Flops flops) const {
    return flops_per_second > 0 ? flops.value / flops_per_second : 0.0;
  }
};

/// Size of the KV pools behind an engine; the same for every executor, so that decisions are too.
struct KvGeometry {
  BlockCount device_blocks = 0;
  BlockCount host_blocks = 0;
  Tokens block_tokens = 16;
  BlockCount disk_blocks = 0;
  TierRules tiers{};
  TierCosts costs{};
  /// Whether steps attend for real, layer by layer and head by head. Where they do not, one head
  /// stands for all: how many tokens a retention policy keeps is the same, which ones is not known.
  bool attends = false;
  /// Whether plans say which blocks lost their content (StepPlan::freed).
  bool tells_freed = false;
  Bytes block_bytes = 0;  // of one block, all layers
};

/// What an executor offers once it is bound to an engine's configuration.
/// execute(plan, result): runs the plan's moves and copies, then its sequences as one batch, and
/// leaves one entry per sequence in the result. It makes no decision of its own: which sequence
/// runs, with which blocks, was settled by the control plane. needs_tokens: whether
/// SequencePlan::history must hold real token ids. An executor whose disk tier outlives it has
/// `stored()`, the std::span<const StoredBlock> that an earlier one left there.
template <class E>
concept BoundExecutor = requires(E executor, const StepPlan& plan, StepResult& result) {
  { E::name } -> std::convertible_to<std::string_view>;
  { E::needs_tokens } -> std::convertible_to<bool>;
  { executor.execute(plan, result) } -> std::same_as<void>;
};

/// An executor as a user names it: options, the shape and KV geometry that follow from them, and
/// the class template that runs steps for one engine configuration. Options carries `limits`
/// (SchedulerLimits); Bound<Config> is built from (options, geometry).
template <class E, class Config>
concept ExecutorFor = requires(const typename E::Options& options, const KvGeometry& geometry) {
  { options.limits } -> std::convertible_to<const SchedulerLimits&>;
  { E::shape(options) } -> std::convertible_to<model::Shape>;
  { E::template geometry<Config>(options) } -> std::same_as<KvGeometry>;
  requires BoundExecutor<typename E::template Bound<Config>>;
  requires std::constructible_from < typename E::template Bound<Config>,
  const typename E::Options&, const KvGeometry& > ;
};

}  // namespace quire
