#pragma once

#include <cstddef>
#include <string_view>

#include <quire/router/choose.hpp>

namespace quire::router {

/// Prompts on some instances, first come first served, where the fewest prompt tokens are queued; when
/// a prompt is done, generation on the decode instance with the fewest requests. A decode instance
/// pulls keys and values when it has room for them.
/// \complexity O(instances).
/// \source Zhong et al., "DistServe", OSDI '24, section 4.3.
class DistServe {
 public:
  static constexpr std::string_view name = "distserve";
  explicit DistServe(const RouterOptions&) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&view](std::size_t i) { return view.instances[i].queued; });
  }
  [[nodiscard]] std::size_t decode_on(const Request&, const ClusterView& view) const {
    return least(view, generates, [&view](std::size_t i) {
      return view.instances[i].waiting + view.instances[i].running;
    });
  }
};
static_assert(DisaggregatingRouter<DistServe>);

}  // namespace quire::router
