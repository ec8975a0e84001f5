#pragma once

#include <quire/core/type_list.hpp>
#include <quire/presets/presets.hpp>

namespace quire::experiment {

/// From batches that nobody joins to paged, iteration-level batching.
using Systems = type_list<presets::HfTransformers, presets::FasterTransformer, presets::OrcaMax,
                          presets::OrcaPow2, presets::OrcaOracle, presets::Vllm>;

/// Requests a second; one ladder for all systems, finer where their curves bend.
inline constexpr double rates[] = {0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,  0.6,  0.7,  0.8, 0.9,
                                   1.0, 1.1,  1.2, 1.35, 1.5, 1.6, 1.75, 1.85, 1.95, 2.1, 2.25};

}  // namespace quire::experiment
