#include "tests/eviction/conformance.hpp"

#include <gtest/gtest.h>

#include "tests/common/count_allocations.hpp"

namespace quire::eviction_test {
namespace {

template <class Policy>
class EvictionConformance : public ::testing::Test {
 public:
  template <class Check>
  void over_traces(int base, Check check) {
    for (int seed = 0; seed < trace_count(base); ++seed) {
      check(static_cast<std::uint64_t>(seed));
      if (this->HasFatalFailure()) {
        FAIL() << "seed " << seed << ", policy " << Policy::name;
      }
    }
  }
};
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Policies = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Policies = as_gtest_types<all_policies>::type;
#endif
TYPED_TEST_SUITE(EvictionConformance, Policies);

TYPED_TEST(EvictionConformance, VictimsAreLegal) {
  this->over_traces(200, [](std::uint64_t seed) { victims_are_legal<TypeParam>(seed); });
}

TYPED_TEST(EvictionConformance, AskingChangesNothing) {
  this->over_traces(200, [](std::uint64_t seed) { asking_changes_nothing<TypeParam>(seed); });
}

TYPED_TEST(EvictionConformance, DrainingGivesEachBlockOnce) {
  this->over_traces(100,
                    [](std::uint64_t seed) { draining_gives_each_block_once<TypeParam>(seed); });
}

TYPED_TEST(EvictionConformance, ANewBlockIsNotEvictable) {
  TypeParam policy(BlockCount{1});
  EXPECT_FALSE(policy.victim());
  policy.on_insert(BlockId{0}, {});
  EXPECT_FALSE(policy.victim());
  policy.on_access(BlockId{0}, {});
  EXPECT_FALSE(policy.victim());
  policy.set_evictable(BlockId{0}, true);
  EXPECT_EQ(policy.victim(), BlockId{0});
  policy.set_evictable(BlockId{0}, false);
  EXPECT_FALSE(policy.victim());
  policy.on_remove(BlockId{0});  // lost while in use
  EXPECT_FALSE(policy.victim());
}

TYPED_TEST(EvictionConformance, AllocatesNothingAfterConstruction) {
  constexpr std::uint32_t capacity = 500;
  TypeParam policy(BlockCount{capacity});
  Rng rng(1);
  std::uint64_t content = 0;
  const std::size_t before = testing::allocations.load();
  for (std::uint32_t b = 0; b < capacity; ++b) {
    policy.on_insert(BlockId{b}, {.content = ++content});
    policy.set_evictable(BlockId{b}, true);
  }
  for (int step = 0; step < 20000; ++step) {
    const BlockId b{static_cast<std::uint32_t>(rng.below(capacity))};
    policy.on_access(b, {.content = 1 + b.value});
    policy.set_evictable(b, false);
    const auto victim = policy.victim();
    ASSERT_TRUE(victim && victim->value < capacity && victim != b)
        << "victim() names none of the evictable blocks";
    const BlockId out = *victim;
    policy.on_remove(out);
    policy.on_insert(out, {.content = rng.below(4) == 0 ? 1 + rng.below(content) : ++content});
    policy.set_evictable(out, true);
    policy.set_evictable(b, true);
  }
#ifdef QUIRE_OWN_TYPE
  if (testing::allocations.load() != before) GTEST_SKIP() << "it allocates, as the house's do not";
#endif
  EXPECT_EQ(testing::allocations.load() - before, 0u);
}

}  // namespace
}  // namespace quire::eviction_test
