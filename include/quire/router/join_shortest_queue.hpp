#pragma once

#include <cstddef>
#include <string_view>

#include <quire/router/choose.hpp>

namespace quire::router {

/// The instance with the fewest tokens of work at hand: prompt tokens still to be computed, and one for
/// each request that generates. The first of equals.
/// \complexity O(instances).
/// \source TokenJSQ of Patel et al., "Splitwise", ISCA '24. Deviation: answers' lengths are not known,
/// so a request that generates counts as the token of its next step.
class JoinShortestQueue {
 public:
  static constexpr std::string_view name = "join_shortest_queue";
  explicit JoinShortestQueue(const RouterOptions&) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&view](std::size_t i) {
      return view.instances[i].queued + Tokens{view.instances[i].running};
    });
  }
};
static_assert(RouterPolicy<JoinShortestQueue>);

}  // namespace quire::router
