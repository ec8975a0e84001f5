#include <quire/router/prefix_aware.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

/// A prompt of that many shared tokens of a text, and some of its own.
Request asks(std::uint64_t text, std::int64_t shared, std::int64_t own) {
  static std::uint64_t unique = 1000;
  Request r;
  r.chunks = {{.content = text, .tokens = shared}, {.content = ++unique, .tokens = own}};
  r.prompt_length = shared + own;
  return r;
}

class PrefixAwareTest : public ::testing::Test {
 protected:
  std::size_t route(const Request& r, double now = 0) {
    return router_.route(r, {Seconds{now}, instances_});
  }
  RouterOptions with(Tokens cache) {
    RouterOptions o = options(3);
    o.cache_tokens = cache;
    o.imbalance = 10;
    return o;
  }
  std::vector<InstanceView> instances_ = std::vector<InstanceView>(3);
  router::PrefixAware router_{with(100'000)};
};

TEST_F(PrefixAwareTest, GoesWhereMostOfThePromptIsKnown) {
  const std::size_t a = route(asks(1, 1000, 100));
  const std::size_t b = route(asks(2, 1000, 100));
  EXPECT_NE(a, b);  // neither is known: where the least was asked for
  for (int k = 0; k < 5; ++k) {
    EXPECT_EQ(route(asks(1, 1000, 100)), a);
    EXPECT_EQ(route(asks(2, 1000, 100)), b);
  }
}

TEST_F(PrefixAwareTest, ExploresWhereLessIsKnownThanRemains) {
  const std::size_t a = route(asks(1, 1000, 100));
  // 1000 known tokens of 5000: load decides, and that is elsewhere
  EXPECT_NE(route(asks(1, 1000, 4000)), a);
}

TEST_F(PrefixAwareTest, DoesNotOverloadWhoKnows) {
  RouterOptions o = options(3);
  o.cache_tokens = 1'000'000;
  o.imbalance = 2;
  router::PrefixAware router(o);
  std::vector<int> count(3);
  for (int k = 0; k < 300; ++k) {
    ++count[router.route(asks(1, 1000, 900), {Seconds{0.0}, instances_})];
  }
  for (const int c : count) EXPECT_GT(c, 60);  // with one text it ends as load balancing
}

TEST_F(PrefixAwareTest, ForgetsTheOldestText) {
  router::PrefixAware router(with(2200));  // two prompts of 1100
  const ClusterView view{Seconds{0.0}, std::span(instances_).first(1)};
  const std::vector<InstanceView> one(1);
  // all on one instance; then a second one with more load is preferred only for what is known
  for (const std::uint64_t text : {1u, 2u, 3u}) {
    static_cast<void>(router.route(asks(text, 1000, 100), view));
  }
  instances_.resize(2);
  const ClusterView both{Seconds{0.0}, instances_};
  EXPECT_EQ(router.route(asks(3, 1000, 100), both), 0u);
  EXPECT_EQ(router.route(asks(1, 1000, 100), both), 1u);  // forgotten
}

TEST_F(PrefixAwareTest, LoadFadesWithItsWindow) {
  const std::size_t a = route(asks(1, 1000, 100), 0);
  EXPECT_NE(route(asks(2, 1000, 100), 1), a);
  // after the window nothing is load, and the first instance is the first again
  EXPECT_EQ(route(asks(3, 1000, 100), 1000), 0u);
}

TEST_F(PrefixAwareTest, TokenIdsAreComparedByBlocksAndSalt) {
  Request r;
  for (TokenId t = 0; t < 160; ++t) r.prompt.push_back(t);
  r.prompt_length = 160;
  const std::size_t a = route(r);
  Request longer = r;
  for (TokenId t = 0; t < 40; ++t) longer.prompt.push_back(t);
  longer.prompt_length = 200;
  EXPECT_EQ(route(longer), a);
  Request salted = longer;
  salted.salt = 9;
  EXPECT_NE(route(salted), a);
}

}  // namespace
}  // namespace quire::router_test
