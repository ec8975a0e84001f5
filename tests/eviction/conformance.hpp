#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/eviction/eviction.hpp>

#include "tests/eviction/model.hpp"

/// What every eviction policy promises, checked on every eviction policy.
/// - victim() is empty exactly when no block is evictable, and otherwise resident and evictable.
/// - A new block is not evictable until the pool says so.
/// - Asking for the victim changes nothing: not the next answer, and not any later one; nor does telling of
///   names that may enter.
/// - Removing victims until there is none removes each evictable block once and no other.
/// - Equal events give equal victims: no clock, no address, no global.
/// - A copy goes on as the original does.
/// - It works for pools of one block, of blocks all in use, and for every block leaving at any
/// time.
/// - It allocates nothing after construction.
namespace quire::eviction_test {

/// Every eviction policy of the library; a new one is added here.
using all_policies =
    type_list<eviction::Fifo, eviction::Lru, eviction::Mru, eviction::Clock, eviction::Lfu,
              eviction::LfuDa, eviction::TwoQ, eviction::LruK, eviction::Slru, eviction::Arc,
              eviction::S3Fifo, eviction::Sieve, eviction::WTinyLfu, eviction::Gdsf,
              eviction::Hyperbolic, eviction::Priority, eviction::RandomMarking,
              eviction::TailOptimizedLru, eviction::LeadingChunkFirst, eviction::WorkloadAware,
              eviction::Belady>;

template <class List>
struct as_gtest_types;
template <class... Ts>
struct as_gtest_types<type_list<Ts...>> {
  using type = ::testing::Types<Ts...>;
};

/// The victim is legal after each step of random traces.
template <class Policy>
void victims_are_legal(std::uint64_t seed) {
  RandomPool pool(seed);
  Policy policy(pool.capacity());
  ASSERT_FALSE(policy.victim());
  for (int step = 0; step < pool.steps(); ++step) {
    pool.step(policy);
    const auto b = policy.victim();
    ASSERT_EQ(b.has_value(), pool.any_evictable())
        << "victim() is empty exactly when no block is evictable; step " << step;
    if (!b) continue;
    ASSERT_LT(b->value, pool.capacity().value)
        << "victim() names a block that the pool does not have; step " << step;
    ASSERT_TRUE(pool.resident(*b))
        << "victim() names a block that is not resident: " << b->value << "; step " << step;
    ASSERT_TRUE(pool.evictable(*b))
        << "victim() names a block that is not evictable: " << b->value << "; step " << step;
    ASSERT_EQ(policy.victim(), b) << "victim(), asked twice, says two things; step " << step;
  }
}

/// One is asked after each step, and told of names, its twin asked only when the pool needs a block.
template <class Policy>
void asking_changes_nothing(std::uint64_t seed) {
  RandomPool pool(seed);
  Policy asked(pool.capacity());
  Policy twin(pool.capacity());
  for (int step = 0; step < pool.steps(); ++step) {
    pool.step(asked, twin);
    if constexpr (eviction::FetchesNames<Policy>)
      asked.prefetch(mix64(seed + static_cast<std::uint64_t>(step)));
    const auto b = asked.victim();
    if (step % 50 == 49) {
      ASSERT_EQ(twin.victim(), b) << "asking for victims has changed a later one; step " << step;
    }
  }
}

/// From some state, removing victims gives each evictable block once; a copy gives the same order.
template <class Policy>
void draining_gives_each_block_once(std::uint64_t seed) {
  RandomPool pool(seed);
  Policy policy(pool.capacity());
  for (int step = 0; step < 200; ++step) pool.step(policy);
  Policy copy = policy;
  std::vector<bool> gone(static_cast<std::size_t>(pool.capacity().value));
  std::size_t count = 0;
  while (const auto b = policy.victim()) {
    ASSERT_LT(b->value, pool.capacity().value)
        << "victim() names a block that the pool does not have";
    ASSERT_TRUE(pool.evictable(*b)) << "victim() names a block that is not evictable: " << b->value;
    ASSERT_FALSE(gone[b->value]) << "given up twice: " << b->value;
    gone[b->value] = true;
    ++count;
    ASSERT_EQ(copy.victim(), b) << "the copy differs";
    policy.on_remove(*b);
    copy.on_remove(*b);
  }
  std::size_t evictable = 0;
  for (const BlockId b : pool.resident()) evictable += pool.evictable(b) ? 1 : 0;
  ASSERT_EQ(count, evictable) << "victims removed one by one are not all evictable blocks";
}

}  // namespace quire::eviction_test
