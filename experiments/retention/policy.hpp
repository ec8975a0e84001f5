#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include <experiments/common/paper_setup.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <experiments/retention/teacher_forced.hpp>
#include <quire/engine/replay.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/retention/snap_kv.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/workload/workload.hpp>

namespace quire::retention_lab {

/// Which tokens a sequence keeps; all else is the vllm preset in full precision.
template <class P, std::int64_t block = 16>
struct Keeps : presets::Vllm {
  static constexpr std::string_view name = P::name;
  using BlockSize = quire::BlockSize<block>;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Retention = P;
};
/// The preset as it is, for simulated time.
template <class P>
struct Served : presets::Vllm {
  static constexpr std::string_view name = P::name;
  using Retention = P;
};

/// Requests served in simulated time.
struct Serving {
  metrics::JsonObject metrics;
  double steps = 0;
};

/// A retention policy by value: all that the laboratory asks of it. Made by policy().
struct Policy {
  std::string_view name;
  std::int64_t block_tokens = 16;
  bool of_prompts = false;  // compresses a prompt when it has been computed, and nothing else
  experiment::Reading (*read)(const checkpoint::Checkpoint& model,
                              const std::vector<std::vector<TokenId>>& texts,
                              const std::vector<std::int64_t>& prompts,
                              const RetentionLimits& limits) = nullptr;
  Serving (*serve)(std::size_t requests, std::int64_t budget) = nullptr;  // null: not asked for
};

namespace detail {
/// ShareGPT requests, all waiting from the start, on OPT-13B in the memory of the PagedAttention
/// paper.
template <class P>
Serving serve(std::size_t requests, std::int64_t budget) {
  executor::Simulated::Options setup = experiment::opt_13b_setup();
  setup.limits.retention = {.budget = budget};
  Engine<Served<P>, executor::Simulated> engine(setup);
  const Report report = replay(
      engine,
      workload::sharegpt({.requests = requests, .seed = 1, .arrivals = workload::Saturated{}}));
  const auto memory = report.memory.by_time();
  Serving out;
  out.steps = static_cast<double>(report.counters.steps);
  out.metrics
      .add("output_tokens_per_s",
           static_cast<double>(report.counters.output_tokens.value) / engine.now().value)
      .add("mean_batched_requests", memory.running_requests)
      .add("preemptions", report.counters.preemptions)
      .add("rejected", report.counters.rejected);
  return out;
}
}  // namespace detail

template <RetentionPolicy P, std::int64_t block = 16, bool served = true>
[[nodiscard]] Policy policy() {
  Policy out;
  out.name = P::name;
  out.block_tokens = block;
  out.of_prompts = std::is_base_of_v<retention::SnapKv, P>;
  out.read = &experiment::read_texts<Keeps<P, block>>;
  if constexpr (served) out.serve = &detail::serve<P>;
  return out;
}

/// Quire's own policies, in the order of axes.hpp, and quest again with pages of 4.
[[nodiscard]] std::vector<Policy> house_policies();

/// The laboratory's main, as the figures need it.
[[nodiscard]] int run(int argc, char** argv);
/// One policy beside a few of the house's; a user's own program is
///   int main(int argc, char** argv) { return study(argc, argv, policy<Mine>()); }
[[nodiscard]] int study(int argc, char** argv, const Policy& mine);

}  // namespace quire::retention_lab
