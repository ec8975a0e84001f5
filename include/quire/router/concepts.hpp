#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/workload/request.hpp>

namespace quire {

/// What an instance of a cluster is for: whole requests, prompts alone, or generation alone.
enum class Role { both, prefill, decode };

/// One instance as a router sees it: at the beginning of the step that it runs, and what it was
/// given since. Blocks are counted as if no two requests shared one.
struct InstanceView {
  Role role = Role::both;
  std::int64_t waiting = 0;    // requests that do not run; those on their way here count too
  std::int64_t running = 0;    // requests
  Tokens queued = 0;           // prompt tokens still to be computed, of all its requests
  Tokens context = 0;          // tokens of running requests whose keys and values are there
  BlockCount capacity = 0;     // blocks of the pool
  BlockCount used = 0;         // by running requests
  BlockCount head_demand = 0;  // blocks that the first waiting request asks for
  BlockCount demand = 0;       // blocks that all waiting requests ask for
  /// Requests of a priority below RouterOptions::normal_priority, and those of them that run.
  std::int64_t urgent = 0, urgent_running = 0;

  [[nodiscard]] bool takes_prompts() const { return role != Role::decode; }
  [[nodiscard]] bool generates() const { return role != Role::prefill; }
};

/// The whole cluster at the time of a decision.
struct ClusterView {
  Seconds now = 0.0;
  std::span<const InstanceView> instances;
};

/// A running request that could be moved to another instance.
struct Movable {
  std::int32_t priority = 0;  // smaller is more urgent
  Tokens context = 0;
};

/// From which instance to which one request is to be moved.
struct Move {
  std::size_t from = 0, to = 0;
  friend constexpr bool operator==(const Move&, const Move&) = default;
};

/// Run-time quantities that every router may read; behaviours are types, these are values.
struct RouterOptions {
  std::size_t instances = 1;
  std::uint64_t seed = 0;
  Tokens block_tokens = 16;
  /// Seconds between two looks at which requests to move, and the freeness (steps that the free
  /// memory lasts) below which an instance gives some away and above which it takes some.
  Seconds rebalance_every = 0.2;
  double give_below = 3;
  double take_above = 3;
  /// Requests of a priority below normal_priority are urgent: an instance that has any counts as fuller
  /// by so many blocks, so that others stay away from it and are moved off it. 0: all are alike.
  std::int32_t normal_priority = 0;
  BlockCount headroom = 0;
  /// Prefix-aware: tokens of text that an instance is believed to keep, how long work counts as
  /// load, and how many times the least load an instance may have and still be sent what it knows.
  Tokens cache_tokens = 0;
  Seconds window = 180.0;
  double imbalance = 2;
};

/// Decides which instance of a cluster serves a request. It sees loads and lengths of prompts, and
/// neither the clock nor how long an answer will be.
///
/// - route(request, view): the instance that takes the request, or its prompt where prompts and
///   generation are apart; one that takes_prompts().
/// - decode_on(request, view) (optional): prompts and generation are apart; the instance that
///   generates, one that generates(). Asked when the prompt is done.
/// - commits_early (optional, with decode_on): asked at once after route() instead.
/// - sends_by_layer (optional, with decode_on): the keys and values of a layer are sent while the
///   next is computed.
/// - moves(view) (optional): pairs of instances between which one request each is to be moved; asked
///   every rebalance_every seconds while requests run.
/// - chosen(candidates) (with moves): which of them; never asked for none.
/// - on_finished(instance, prompt, output) (optional): a request has ended there.
/// A member of an optional one's name that is private, or of another signature, is refused.
template <class R>
concept RouterPolicy = std::constructible_from<R, const RouterOptions&> &&
    requires(R router, const Request& request, const ClusterView& view) {
  { R::name } -> std::convertible_to<std::string_view>;
  { router.route(request, view) } -> std::same_as<std::size_t>;
};

/// Routers that send prompts and generation to different instances.
template <class R>
concept DisaggregatingRouter = RouterPolicy<R> &&
    requires(R router, const Request& request, const ClusterView& view) {
  { router.decode_on(request, view) } -> std::same_as<std::size_t>;
};
template <class R>
constexpr bool commits_early = requires {
  requires R::commits_early;
};
template <class R>
constexpr bool sends_by_layer = requires {
  requires R::sends_by_layer;
};

/// Routers that move requests after they were placed.
template <class R>
concept MigratingRouter = RouterPolicy<R> &&
    requires(R router, const ClusterView& view, std::span<const Movable> candidates) {
  { router.moves(view) } -> std::same_as<std::vector<Move>>;
  { router.chosen(candidates) } -> std::same_as<std::size_t>;
};

}  // namespace quire
