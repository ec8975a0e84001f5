#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/rng.hpp>
#include <quire/router/choose.hpp>

namespace quire::router {

/// Any instance that takes prompts, with equal chances, from a seed.
/// \complexity O(instances).
class Random {
 public:
  static constexpr std::string_view name = "random";
  explicit Random(const RouterOptions& options) : rng_(options.seed) {}

  [[nodiscard]] std::size_t route(const Request&, const ClusterView& view) {
    std::uint64_t able = 0;
    for (const InstanceView& i : view.instances) able += i.takes_prompts() ? 1 : 0;
    std::uint64_t skip = able == 0 ? 0 : rng_.below(able);
    return least(
        view,
        [&skip](const InstanceView& i) {
          return i.takes_prompts() && skip-- == 0;  // wraps beyond the one that is meant
        },
        [](std::size_t i) { return i; });
  }

 private:
  Rng rng_;
};
static_assert(RouterPolicy<Random>);

}  // namespace quire::router
