#include <quire/router/round_robin.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(RoundRobin, TakesThemInTurnWhateverTheirLoad) {
  Rng rng(1);
  router::RoundRobin router(options(3));
  for (std::size_t k = 0; k < 30; ++k) {
    const std::vector<InstanceView> instances{random_instance(rng), random_instance(rng),
                                              random_instance(rng)};
    EXPECT_EQ(router.route({}, {Seconds{0.0}, instances}), k % 3);
  }
}

TEST(RoundRobin, PassesOverThoseThatTakeNoPrompts) {
  std::vector<InstanceView> instances(4);
  instances[1].role = instances[3].role = Role::decode;
  router::RoundRobin router(options(4));
  std::vector<std::size_t> at;
  for (int k = 0; k < 4; ++k) at.push_back(router.route({}, {Seconds{0.0}, instances}));
  EXPECT_EQ(at, (std::vector<std::size_t>{0, 2, 0, 2}));
}

}  // namespace
}  // namespace quire::router_test
