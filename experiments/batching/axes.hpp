#pragma once

#include <type_traits>

#include <experiments/common/paper_setup.hpp>
#include <quire/core/type_list.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/host_overhead.hpp>
#include <quire/presets/presets.hpp>

namespace quire::experiment {

/// From batches that nobody joins to paged, iteration-level batching.
using Systems = type_list<presets::HfTransformers, presets::FasterTransformer, presets::OrcaMax,
                          presets::OrcaPow2, presets::OrcaOracle, presets::Vllm>;

/// Requests a second; one ladder for all systems, finer where their curves bend.
inline constexpr double rates[] = {0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4,  0.5, 0.6,
                                   0.75, 0.9, 1.05, 1.2, 1.4,  1.6, 1.75, 1.9, 2.1};

/// The rung above which a system is left out: past its limit, where latency is only the length of the
/// queue. The limit itself is found by bisection between the rungs.
template <class System>
inline constexpr double last_rate = 2.1;
template <>
inline constexpr double last_rate<presets::HfTransformers> = 0.25;
template <>
inline constexpr double last_rate<presets::FasterTransformer> = 0.4;
template <>
inline constexpr double last_rate<presets::OrcaMax> = 0.75;
template <>
inline constexpr double last_rate<presets::OrcaPow2> = 1.05;
template <>
inline constexpr double last_rate<presets::OrcaOracle> = 1.4;

/// Host code around the model: Orca and vLLM share one Python code base.
template <class System>
inline constexpr HostOverhead host = host_overhead::python_2023;
template <>
inline constexpr HostOverhead host<presets::FasterTransformer> = host_overhead::none;

/// Whether workers of several devices are processes that are called through Ray.
template <class System>
inline constexpr bool behind_ray = true;
template <>
inline constexpr bool behind_ray<presets::HfTransformers> = false;
template <>
inline constexpr bool behind_ray<presets::FasterTransformer> = false;

/// The device as a system's kernels use it.
template <class System>
[[nodiscard]] constexpr Hardware as_used_by(const Hardware& hardware) {
  return std::is_same_v<System, presets::FasterTransformer> ? under_faster_transformer(hardware)
                                                            : hardware;
}

}  // namespace quire::experiment
