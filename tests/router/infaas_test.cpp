#include <quire/router/infaas.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(Infaas, TakesTheMostFreeMemoryForEachRequest) {
  Rng rng(5);
  for (int k = 0; k < 500; ++k) {
    std::vector<InstanceView> instances;
    for (std::uint64_t i = 0; i < 1 + rng.below(6); ++i) instances.push_back(random_instance(rng));
    const router::Infaas router(options(instances.size()));
    EXPECT_EQ(router.route({}, {Seconds{0.0}, instances}),
              first_least(instances, [](const InstanceView& v) {
                const double free =
                    16.0 * static_cast<double>((v.capacity - v.used - v.demand).value);
                return -free / std::max<double>(
                                   1, static_cast<double>(v.running) + (v.waiting > 0 ? 1 : 0));
              }));
  }
}

}  // namespace
}  // namespace quire::router_test
