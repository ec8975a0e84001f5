#include "tests/router/conformance.hpp"

#include <set>

namespace quire::router_test {
namespace {

template <class R>
class RouterConformance : public ::testing::Test {};
TYPED_TEST_SUITE(RouterConformance, as_gtest_types<all_policies>::type);

/// Roles that the router can serve: all of them where it takes prompts and generation apart.
template <class R>
std::vector<InstanceView> random_cluster(Rng& rng, std::size_t n) {
  std::vector<InstanceView> instances;
  for (std::size_t i = 0; i < n; ++i) {
    const Role role = !DisaggregatingRouter<R> ? Role::both
                      : i == 0                 ? Role::prefill
                      : i == 1                 ? Role::decode
                                               : static_cast<Role>(rng.below(3));
    instances.push_back(random_instance(rng, role));
  }
  return instances;
}

TYPED_TEST(RouterConformance, SendsToInstancesOfTheRoleAndACopyDoesTheSame) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    const std::size_t n = 2 + rng.below(8);
    TypeParam router(options(n));
    TypeParam copy = router;
    for (int step = 0; step < 100; ++step) {
      const auto instances = random_cluster<TypeParam>(rng, n);
      const ClusterView view{Seconds{0.5 * step}, instances};
      const Request request = random_request(rng);
      if (step == 50) copy = router;
      const std::size_t at = router.route(request, view);
      ASSERT_LT(at, n);
      EXPECT_TRUE(instances[at].takes_prompts());
      if (step < 10 || step >= 50) {
        EXPECT_EQ(copy.route(request, view), at);
      }
      if constexpr (DisaggregatingRouter<TypeParam>) {
        const std::size_t d = router.decode_on(request, view);
        ASSERT_LT(d, n);
        EXPECT_TRUE(instances[d].generates());
        if (step >= 50) {
          EXPECT_EQ(copy.decode_on(request, view), d);
        }
      }
      if constexpr (MigratingRouter<TypeParam>) {
        std::set<std::size_t> from, to;
        for (const Move& m : router.moves(view)) {
          EXPECT_NE(m.from, m.to);
          EXPECT_TRUE(from.insert(m.from).second);
          EXPECT_TRUE(to.insert(m.to).second);
        }
        const std::vector<Movable> candidates(1 + rng.below(5));
        EXPECT_LT(router.chosen(candidates), candidates.size());
      }
    }
  }
}

TYPED_TEST(RouterConformance, ServesAClusterOfOne) {
  TypeParam router(options(1));
  const std::vector<InstanceView> one(1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(router.route({.prompt_length = 10}, {Seconds{0.0}, one}), 0u);
  }
}

TYPED_TEST(RouterConformance, LeavesNoInstanceOutForEver) {
  constexpr std::size_t n = 5;
  TypeParam router(options(n));
  std::vector<InstanceView> instances(n);
  for (InstanceView& i : instances) i.capacity = 1000;
  std::set<std::size_t> used;
  for (int k = 0; k < 200; ++k) {  // each stays where it was sent
    const std::size_t at = router.route({.prompt_length = 100}, {Seconds{0.01 * k}, instances});
    used.insert(at);
    instances[at].running += 1;
    instances[at].queued += 100;
    instances[at].used += 7;
  }
  EXPECT_EQ(used.size(), n);
}

TYPED_TEST(RouterConformance, AClusterWithoutItsRoleIsRefused) {
  TypeParam router(options(2));
  std::vector<InstanceView> instances(2);
  for (InstanceView& i : instances) i.role = Role::decode;
  EXPECT_THROW(static_cast<void>(router.route({.prompt_length = 1}, {Seconds{0.0}, instances})),
               Error);
}

}  // namespace
}  // namespace quire::router_test
