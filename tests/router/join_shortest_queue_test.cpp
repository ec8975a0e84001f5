#include <quire/router/join_shortest_queue.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(JoinShortestQueue, IsTheNaiveLeast) {
  Rng rng(11);
  for (int k = 0; k < 500; ++k) {
    std::vector<InstanceView> instances;
    for (std::uint64_t i = 0; i < 1 + rng.below(6); ++i) instances.push_back(random_instance(rng));
    const router::JoinShortestQueue router(options(instances.size()));
    EXPECT_EQ(
        router.route({}, {Seconds{0.0}, instances}),
        first_least(instances, [](const InstanceView& v) { return v.queued.value + v.running; }));
  }
}

}  // namespace
}  // namespace quire::router_test

namespace quire::router_test {

TEST(JoinShortestQueue, CountsTokensNotRequests) {
  std::vector<InstanceView> instances(2);
  instances[0].waiting = 1;
  instances[0].queued = 4000;  // one long prompt
  instances[1].waiting = 5;
  instances[1].queued = 500;
  EXPECT_EQ(router::JoinShortestQueue(options(2)).route({}, {Seconds{0.0}, instances}), 1u);
  EXPECT_EQ(router::LeastOutstanding(options(2)).route({}, {Seconds{0.0}, instances}), 0u);
}

}  // namespace quire::router_test
