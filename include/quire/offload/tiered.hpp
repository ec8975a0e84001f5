#pragma once

#include <string_view>

#include <quire/offload/host_cache.hpp>

namespace quire::offload {

/// Lets what the device evicts go down to the host and from there to disk, where a later process finds
/// it too. Writing to disk goes on while later steps run.
/// \source Gao et al., "Cost-Efficient LLM Serving for Multi-turn Conversations with CachedAttention",
/// ATC '24. Deviation: no look-ahead and no overlap, which are policies of their own here.
struct Tiered : HostCache {
  static constexpr std::string_view name = "tiered";
  static constexpr bool uses_disk = true;
};
static_assert(OffloadPolicy<Tiered>);

}  // namespace quire::offload
