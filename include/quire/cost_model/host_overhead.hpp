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

/// A Python engine: what vLLM's iterations take beyond the roofline. From DistServe's profile of vLLM,
/// OPT-13B on one A100-80GB, decode: 23.48 ms + 0.593 us a context token + 60.7 us a sequence, less
/// this project's roofline of the same steps; 5.8 ms and 34 us remain at 500 tokens of context.
/// \source LLMServe/DistServe, simdistserve/estimators/profile_data/profiler-a100-80g.vllm.json.
inline constexpr HostOverhead python_2023{.per_step = 0.0058, .per_sequence = 0.000035};

/// A C++ engine of that time, in the same way from DistServe's own engine on the same card: 19.93 ms +
/// 0.627 us a context token + 38.5 us a sequence, less the roofline.
/// \source profiler-a100-80g.distserve.json, ibid.
inline constexpr HostOverhead native_2023{.per_step = 0.0022, .per_sequence = 0.000028};

}  // namespace host_overhead
}  // namespace quire
