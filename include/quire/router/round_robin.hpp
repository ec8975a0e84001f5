#pragma once

#include <cstddef>
#include <string_view>

#include <quire/router/choose.hpp>

namespace quire::router {

/// One instance after the other, whatever their load.
/// \complexity O(instances).
class RoundRobin {
 public:
  static constexpr std::string_view name = "round_robin";
  explicit RoundRobin(const RouterOptions&) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) {
    const std::size_t n = view.instances.size();
    const std::size_t at =
        least(view, takes_prompts, [&](std::size_t i) { return (i + n - next_ % n) % n; });
    next_ = at + 1;
    return at;
  }

 private:
  std::size_t next_ = 0;
};
static_assert(RouterPolicy<RoundRobin>);

}  // namespace quire::router
