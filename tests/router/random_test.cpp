#include <quire/router/random.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(Random, GivesEachItsShareAndNothingToOthers) {
  std::vector<InstanceView> instances(5);
  instances[2].role = Role::decode;
  router::Random router(options(5));
  std::vector<int> count(5);
  for (int k = 0; k < 4000; ++k) ++count[router.route({}, {Seconds{0.0}, instances})];
  EXPECT_EQ(count[2], 0);
  for (const std::size_t i : {0u, 1u, 3u, 4u}) EXPECT_NEAR(count[i], 1000, 150);  // 5 sigma
}

TEST(Random, DependsOnItsSeedAlone) {
  const std::vector<InstanceView> instances(7);
  const auto sequence = [&](std::uint64_t seed) {
    RouterOptions o = options(7);
    o.seed = seed;
    router::Random router(o);
    std::vector<std::size_t> at;
    for (int k = 0; k < 20; ++k) at.push_back(router.route({}, {Seconds{0.0}, instances}));
    return at;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
}

}  // namespace
}  // namespace quire::router_test
