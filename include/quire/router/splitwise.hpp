#pragma once

#include <cstddef>
#include <string_view>

#include <quire/router/choose.hpp>

namespace quire::router {

/// A prompt machine and a token machine for each request at its arrival, each the one with the fewest
/// tokens at hand; keys and values are sent layer by layer while the prompt is computed. Instances
/// of both roles are the mixed pool: they are chosen where the machines of a role have more at hand.
/// \complexity O(instances).
/// \source Patel et al., "Splitwise", ISCA '24, section IV. Deviation: a machine of the mixed pool stays
/// one; the paper moves machines between pools.
class Splitwise {
 public:
  static constexpr std::string_view name = "splitwise";
  static constexpr bool commits_early = true;
  static constexpr bool sends_by_layer = true;
  explicit Splitwise(const RouterOptions&) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&view](std::size_t i) {
      return view.instances[i].queued + Tokens{view.instances[i].running};
    });
  }
  [[nodiscard]] std::size_t decode_on(const Request&, const ClusterView& view) const {
    return least(view, generates, [&view](std::size_t i) {
      return view.instances[i].context + view.instances[i].queued;
    });
  }
};
static_assert(DisaggregatingRouter<Splitwise>);

}  // namespace quire::router
