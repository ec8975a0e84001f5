#pragma once

#include <cstddef>
#include <string_view>

#include <quire/router/choose.hpp>

namespace quire::router {

/// The instance whose memory lasts longest, the demand of its queue counted as used: dispatch by load,
/// after which a request stays where it is.
/// \complexity O(instances).
/// \source INFaaS++, the baseline of Sun et al., "Llumnix", OSDI '24.
class Infaas {
 public:
  static constexpr std::string_view name = "infaas";
  explicit Infaas(const RouterOptions& options) : block_tokens_(options.block_tokens) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) const {
    return least(view, takes_prompts, [&](std::size_t i) {
      return -freeness(view.instances[i], view.instances[i].demand, block_tokens_);
    });
  }

 private:
  Tokens block_tokens_;
};
static_assert(RouterPolicy<Infaas>);

}  // namespace quire::router
