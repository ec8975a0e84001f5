#pragma once

#include <cstddef>
#include <string_view>

#include <quire/router/choose.hpp>

namespace quire::router {

/// The instance with the fewest requests that have not ended; the first of equals.
/// \complexity O(instances).
/// \source the least outstanding requests of Vidur's global schedulers and of load balancers.
class LeastOutstanding {
 public:
  static constexpr std::string_view name = "least_outstanding";
  explicit LeastOutstanding(const RouterOptions&) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&view](std::size_t i) {
      return view.instances[i].waiting + view.instances[i].running;
    });
  }
};
static_assert(RouterPolicy<LeastOutstanding>);

}  // namespace quire::router
