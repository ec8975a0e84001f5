#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <quire/engine/any_engine.hpp>
#include <quire/engine/cluster_loop.hpp>
#include <quire/engine/cluster_options.hpp>
#include <quire/engine/explain_router.hpp>
#include <quire/router/concepts.hpp>

namespace quire {

namespace detail {

template <class R>
[[nodiscard]] RouterHooks hooks_of(const RouterOptions& options) {
  const auto router = std::make_shared<R>(options);
  RouterHooks hooks{.name = R::name};
  hooks.route = [router](const Request& r, const ClusterView& v) { return router->route(r, v); };
  if constexpr (DisaggregatingRouter<R>) {
    hooks.decode_on = [router](const Request& r, const ClusterView& v) {
      return router->decode_on(r, v);
    };
    hooks.early = commits_early<R>;
    hooks.by_layer = sends_by_layer<R>;
  }
  if constexpr (MigratingRouter<R>) {
    hooks.moves = [router](const ClusterView& v) { return router->moves(v); };
    hooks.chosen = [router](std::span<const Movable> c) { return router->chosen(c); };
  }
  if constexpr (requires { router->on_finished(std::size_t{}, Tokens{}, Tokens{}); }) {
    hooks.on_finished = [router](std::size_t i, Tokens prompt, Tokens output) {
      router->on_finished(i, prompt, output);
    };
  }
  return hooks;
}

}  // namespace detail

/// Several engines behind a router, in one simulated time: requests are routed as they arrive, an
/// engine's step begins when its last one has ended, and keys and values travel over links. The
/// engines are those that serve alone, of any configurations, over an executor in simulated time.
///
/// A router that takes prompts and generation apart has a prompt computed on one instance, up to the
/// first token, and the rest generated on another, to which the keys and values are sent. One that
/// moves requests has them copied from instance to instance while they run.
/// Deviation from real systems: a prompt's blocks are given back when it is done, although its keys
/// and values stay until they are sent; ClusterReport::held_peak says how much that comes to.
/// \errors usage error: no instance, roles that are not one each, a request without output_length or
/// with several sequences where it would be split; state error: requests wait and nothing can run.
template <class R>
class Cluster : explain::Router<R>, detail::ClusterLoop {
 public:
  Cluster(std::vector<std::unique_ptr<AnyEngine>> engines, const ClusterOptions& options)
      : ClusterLoop(std::move(engines), options, R::name, DisaggregatingRouter<R>,
                    detail::hooks_of<R>) {}

  /// Plays a workload, in order of arrival, until all requests have ended. Once.
  using ClusterLoop::replay;
};

}  // namespace quire
