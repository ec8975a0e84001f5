#pragma once

#include <string_view>

#include <quire/offload/concepts.hpp>

namespace quire::offload {

/// Keeps prefix blocks that the device evicts in host memory, and swaps preempted groups there too.
/// \source vLLM's CPU offloading connector; SGLang's HiCache, second level.
struct HostCache {
  static constexpr std::string_view name = "host_cache";
  static constexpr bool uses_host = true;
  static constexpr bool keeps_evicted = true;
  [[nodiscard]] Preemption on_preempt(const PreemptionContext&) const { return Preemption::swap; }
};
static_assert(OffloadPolicy<HostCache>);

}  // namespace quire::offload
