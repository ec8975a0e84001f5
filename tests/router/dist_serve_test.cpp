#include <quire/router/dist_serve.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

TEST(DistServe, PromptsByQueuedTokensAndGenerationByRequests) {
  Rng rng(4);
  for (int k = 0; k < 300; ++k) {
    std::vector<InstanceView> prompts, decodes, all;
    for (int i = 0; i < 3; ++i) prompts.push_back(random_instance(rng, Role::prefill));
    for (int i = 0; i < 3; ++i) decodes.push_back(random_instance(rng, Role::decode));
    all = prompts;
    all.insert(all.end(), decodes.begin(), decodes.end());
    const ClusterView view{Seconds{0.0}, all};
    const router::DistServe router(options(6));
    EXPECT_EQ(router.route({}, view),
              first_least(prompts, [](const InstanceView& v) { return v.queued; }));
    EXPECT_EQ(router.decode_on({}, view), 3 + first_least(decodes, [](const InstanceView& v) {
                                            return v.waiting + v.running;
                                          }));
  }
}

}  // namespace
}  // namespace quire::router_test
