#pragma once

#include <cstdint>

#include <quire/core/units.hpp>

namespace quire {

/// Time that an engine's host code adds to a step while the device waits: scheduling, preparing
/// inputs, sampling, building outputs.
struct HostOverhead {
  Seconds per_step = 0.0;
  Seconds per_sequence = 0.0;
};

namespace host_overhead {

/// None: the device is never kept waiting.
inline constexpr HostOverhead none{};

/// A Python engine of 2023. Two numbers fitted to the two points of Kwon et al., SOSP '23, Figure 12a,
/// that lie far from saturation: vLLM takes 0.04 s a token at 1 request/s and 0.05 at 1.5 [read off
/// the plot]. The same values serve all systems of that figure, which share one code base; where
/// their curves bend is a prediction.
inline constexpr HostOverhead python_2023{.per_step = 0.010, .per_sequence = 0.0001};

}  // namespace host_overhead
}  // namespace quire
