#pragma once

#include <concepts>
#include <cstddef>

#include <quire/engine/explain.hpp>
#include <quire/router/concepts.hpp>

namespace quire::explain {

/// Says in one sentence what a router lacks.
template <class R>
struct Router : Named<R> {
  static_assert(std::constructible_from<R, const RouterOptions&>,
                "quire: router: the policy cannot be built from const RouterOptions&; smallest "
                "model: quire/router/least_outstanding.hpp");
  static_assert(
      requires(R router, const Request& request, const ClusterView& view) {
        { router.route(request, view) } -> std::same_as<std::size_t>;
      },
      "quire: router: the policy has no `std::size_t route(const Request&, const ClusterView&)`; "
      "smallest model: quire/router/least_outstanding.hpp");
  static_assert(
      !requires { &R::decode_on; } ||
          requires(R router, const Request& request, const ClusterView& view) {
            { router.decode_on(request, view) } -> std::same_as<std::size_t>;
          },
      "quire: router: decode_on is not `std::size_t decode_on(const Request&, const "
      "ClusterView&)`; smallest model: quire/router/dist_serve.hpp");
  static_assert(
      !requires { &R::moves; } || MigratingRouter<R>,
      "quire: router: a policy with moves needs `std::vector<Move> moves(const ClusterView&)` and "
      "`std::size_t chosen(std::span<const Movable>)`; smallest model: quire/router/llumnix.hpp");
};

}  // namespace quire::explain
