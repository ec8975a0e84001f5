#pragma once

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/router/router.hpp>

/// What every router promises.
/// - A request goes to an instance that takes prompts, and generation to one that generates.
/// - Equal calls give equal answers: no clock, no address, no global; a copy goes on as the original.
/// - It serves a cluster of one instance.
/// - Of equal instances none is left out for ever.
/// - Moves are between different instances, at most one from each and one to each.
namespace quire::router_test {

/// Every router of the library; a new one is added here.
using all_policies = type_list<router::Random, router::RoundRobin, router::LeastOutstanding,
                               router::JoinShortestQueue, router::PrefixAware, router::Infaas,
                               router::Llumnix, router::DistServe, router::Splitwise>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

[[nodiscard]] inline RouterOptions options(std::size_t instances) {
  RouterOptions o;
  o.instances = instances;
  o.seed = 3;
  o.cache_tokens = 2000;
  o.window = 10.0;
  return o;
}

[[nodiscard]] inline InstanceView random_instance(Rng& rng, Role role = Role::both) {
  InstanceView v;
  v.role = role;
  v.running = static_cast<std::int64_t>(rng.below(20));
  v.waiting = static_cast<std::int64_t>(rng.below(4));
  v.context = static_cast<std::int64_t>(rng.below(200)) * v.running;
  v.queued = static_cast<std::int64_t>(rng.below(300)) * v.waiting;
  v.capacity = 300;
  v.used = std::min<std::int64_t>(300, v.context.value / 16 + v.running);
  v.head_demand = v.waiting > 0 ? static_cast<std::int64_t>(1 + rng.below(20)) : 0;
  v.demand = v.head_demand * v.waiting;
  return v;
}

/// A prompt of a few chunks, some of which others have too.
[[nodiscard]] inline Request random_request(Rng& rng) {
  Request r;
  for (std::uint64_t k = 1 + rng.below(5); k > 0; --k) {
    r.chunks.push_back({.content = rng.below(8), .tokens = 64});
    r.prompt_length += 64;
  }
  return r;
}

/// The index with the least cost; the first of equals. The obvious way.
template <class Cost>
[[nodiscard]] std::size_t first_least(const std::vector<InstanceView>& instances, Cost cost) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < instances.size(); ++i) {
    if (cost(instances[i]) < cost(instances[best])) best = i;
  }
  return best;
}

}  // namespace quire::router_test
