#include <quire/router/least_outstanding.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(LeastOutstanding, IsTheNaiveLeast) {
  Rng rng(11);
  for (int k = 0; k < 500; ++k) {
    std::vector<InstanceView> instances;
    for (std::uint64_t i = 0; i < 1 + rng.below(6); ++i) instances.push_back(random_instance(rng));
    const router::LeastOutstanding router(options(instances.size()));
    EXPECT_EQ(router.route({}, {Seconds{0.0}, instances}),
              first_least(instances, [](const InstanceView& v) { return v.waiting + v.running; }));
  }
}

}  // namespace
}  // namespace quire::router_test
