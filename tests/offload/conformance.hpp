#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/offload/offload.hpp>

/// What every offload policy promises.
/// - The answer is a pure function of the context.
/// - One that uses no host tier never asks for a swap.
/// - One that uses no host tier uses no disk and keeps nothing: the host lies between.
/// - It fetches no more blocks than it is offered, and as many each time it is asked.
/// - One that uses it asks for a swap in some context: the tier is not reserved for nothing.
namespace quire::offload_test {

/// Every offload policy of the library; a new one is added here.
using all_policies =
    type_list<offload::Recompute, offload::RecomputeSingleSwapGroup, offload::SwapToHost,
              offload::OverlappedSwap, offload::ProactiveSwap, offload::HostCache, offload::Tiered,
              offload::TieredLookAhead, offload::TieredOverlapped, offload::AttentionStore,
              offload::CostBased>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

inline PreemptionContext random_context(Rng& rng) {
  auto up_to = [&rng](std::uint64_t n) { return static_cast<std::int64_t>(rng.below(n + 1)); };
  return {.sequences = 1 + up_to(7),
          .computed = up_to(1 << up_to(14)),
          .blocks = up_to(1 << up_to(10)),
          .host_free = up_to(1 << up_to(10)),
          .recompute = static_cast<double>(up_to(1000)),
          .swap = static_cast<double>(up_to(1000))};
}

}  // namespace quire::offload_test
