// mechanism: picks the best of the instances that can take something.
#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/core/error.hpp>
#include <quire/router/concepts.hpp>

namespace quire::router {

/// The first of the instances that can and whose cost is least.
/// can: InstanceView to bool; cost: index to anything ordered.
/// \complexity O(instances). \errors usage error: none can.
template <class Can, class Cost>
[[nodiscard]] std::size_t least(const ClusterView& view, Can&& can, Cost&& cost) {
  std::size_t best = view.instances.size();
  for (std::size_t i = 0; i < view.instances.size(); ++i) {
    if (can(view.instances[i]) && (best == view.instances.size() || cost(i) < cost(best))) best = i;
  }
  if (best == view.instances.size()) {
    throw usage_error("cluster", "no instance has the role that a request needs",
                      "an instance that takes prompts and one that generates");
  }
  return best;
}

inline constexpr auto takes_prompts = [](const InstanceView& i) { return i.takes_prompts(); };
inline constexpr auto generates = [](const InstanceView& i) { return i.generates(); };

/// Steps for which an instance's free memory lasts, each running request taking a token a step.
/// demand: blocks that waiting requests count for; headroom: blocks kept free. \source Llumnix' freeness, (M - sum V) / B.
[[nodiscard]] inline double freeness(const InstanceView& i, BlockCount demand, Tokens block_tokens,
                                     BlockCount headroom = 0) {
  const std::int64_t free = (i.capacity - i.used - demand - headroom).value * block_tokens.value;
  const std::int64_t batch = i.running + (i.waiting > 0 ? 1 : 0);
  if (free < 0) return static_cast<double>(free);  // a shortage is no less for being shared by many
  return static_cast<double>(free) / static_cast<double>(batch > 0 ? batch : 1);
}

}  // namespace quire::router
