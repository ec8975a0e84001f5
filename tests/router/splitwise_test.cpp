#include <quire/router/splitwise.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(Splitwise, BothMachinesByTokensAtHand) {
  Rng rng(4);
  for (int k = 0; k < 300; ++k) {
    std::vector<InstanceView> prompts, decodes, all;
    for (int i = 0; i < 3; ++i) prompts.push_back(random_instance(rng, Role::prefill));
    for (int i = 0; i < 3; ++i) decodes.push_back(random_instance(rng, Role::decode));
    all = prompts;
    all.insert(all.end(), decodes.begin(), decodes.end());
    const ClusterView view{Seconds{0.0}, all};
    const router::Splitwise router(options(6));
    EXPECT_EQ(router.route({}, view), first_least(prompts, [](const InstanceView& v) {
                return v.queued.value + v.running;
              }));
    EXPECT_EQ(router.decode_on({}, view),
              3 + first_least(decodes, [](const InstanceView& v) { return v.context + v.queued; }));
  }
}

TEST(Splitwise, AMixedMachineHelpsWhereTheOthersAreBusy) {
  std::vector<InstanceView> all(3);
  all[0].role = Role::prefill;
  all[1].role = Role::decode;
  const ClusterView view{Seconds{0.0}, all};
  const router::Splitwise router(options(3));
  EXPECT_EQ(router.route({}, view), 0u);
  EXPECT_EQ(router.decode_on({}, view), 1u);
  all[0].queued = 5000;
  all[1].context = 50'000;
  EXPECT_EQ(router.route({}, view), 2u);
  EXPECT_EQ(router.decode_on({}, view), 2u);
}

}  // namespace
}  // namespace quire::router_test
