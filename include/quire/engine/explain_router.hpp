#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include <quire/engine/explain.hpp>
#include <quire/router/concepts.hpp>

namespace quire::explain {

struct RouterNames {
  char decode_on, commits_early, sends_by_layer, moves, chosen, on_finished;
};
/// Says in one sentence what a router lacks, or has and cannot be called by.
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
  using Own = Beside<R, RouterNames>;
  static_assert(
      requires { &Own::decode_on; } == open<R> ||
          requires(R router, const Request& request, const ClusterView& view) {
            { router.decode_on(request, view) } -> std::same_as<std::size_t>;
          },
      "quire: router: decode_on is no public `std::size_t decode_on(const Request&, const "
      "ClusterView&)`; smallest model: quire/router/dist_serve.hpp");
  static_assert(
      requires { &Own::commits_early; } == open<R> ||
          requires(R router, const Request& request, const ClusterView& view) {
            typename std::bool_constant<R::commits_early>;
            router.decode_on(request, view);
          },
      "quire: router: commits_early is no public `static constexpr bool commits_early` "
      "beside decode_on; smallest model: quire/router/splitwise.hpp");
  static_assert(
      requires { &Own::sends_by_layer; } == open<R> ||
          requires(R router, const Request& request, const ClusterView& view) {
            typename std::bool_constant<R::sends_by_layer>;
            router.decode_on(request, view);
          },
      "quire: router: sends_by_layer is no public `static constexpr bool sends_by_layer` "
      "beside decode_on; smallest model: quire/router/splitwise.hpp");
  static_assert(
      (
          requires { &Own::moves; } == open<R> && requires { &Own::chosen; } == open<R>) ||
          MigratingRouter<R> || !RouterPolicy<R>,
      "quire: router: a policy with moves needs `std::vector<Move> moves(const ClusterView&)` and "
      "`std::size_t chosen(std::span<const Movable>)`, both public; smallest model: "
      "quire/router/llumnix.hpp");
  static_assert(
      requires { &Own::on_finished; } == open<R> ||
          requires(R router, std::size_t instance, Tokens tokens) {
            router.on_finished(instance, tokens, tokens);
          },
      "quire: router: on_finished is no public `void on_finished(std::size_t instance, "
      "Tokens prompt, Tokens output)`, so it would never be called; smallest model: "
      "quire/router/prefix_aware.hpp");
};

}  // namespace quire::explain
