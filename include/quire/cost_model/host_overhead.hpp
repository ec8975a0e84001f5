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

/// A Python engine of 2023. Fitted to one point of Kwon et al., SOSP '23, Figure 12a, far from
/// saturation: vLLM at 1 request/s takes 0.04 s a token [read off the plot]. The same value serves
/// all systems of that figure, which share one code base; where their curves bend is a prediction.
inline constexpr HostOverhead python_2023{.per_step = 0.008, .per_sequence = 0.0003};

}  // namespace host_overhead
}  // namespace quire
