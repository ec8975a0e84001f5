#include <quire/router/llumnix.hpp>

#include "tests/router/conformance.hpp"

namespace quire::router_test {
namespace {

InstanceView instance(std::int64_t running, std::int64_t free_blocks, std::int64_t head = 0) {
  InstanceView v;
  v.capacity = 100;
  v.used = 100 - free_blocks;
  v.running = running;
  v.waiting = head > 0 ? 1 : 0;
  v.head_demand = v.demand = head;
  return v;
}

TEST(Llumnix, PairsTheShortestOfMemoryWithTheFreest) {
  // freeness, in steps of one token each: 16 x blocks / requests
  const std::vector<InstanceView> view{
      instance(32, 4),       // 2: gives
      instance(10, 50),      // 80: takes second
      instance(16, 10, 12),  // (10 - 12) x 16 / 17 < 0: its queue's head has no room; gives first
      instance(2, 90),       // 720: takes first
      instance(16, 3),       // 3: neither below nor above
      instance(4, 80, 1)};   // has a queue: takes nothing
  const router::Llumnix router(options(6));
  EXPECT_EQ(router.moves({Seconds{0.0}, view}), (std::vector<Move>{{2, 3}, {0, 1}}));
}

TEST(Llumnix, MovesNothingWhereAllHaveRoomOrNobodyDoes) {
  const router::Llumnix router(options(2));
  EXPECT_TRUE(router.moves({Seconds{0.0}, std::vector{instance(4, 50), instance(8, 50)}}).empty());
  EXPECT_TRUE(router.moves({Seconds{0.0}, std::vector{instance(64, 2), instance(64, 2)}}).empty());
  // an instance that runs nothing has nothing to give
  EXPECT_TRUE(
      router.moves({Seconds{0.0}, std::vector{instance(0, 2, 50), instance(1, 90)}}).empty());
}

TEST(Llumnix, KeepsRoomAroundUrgentRequests) {
  RouterOptions o = options(2);
  o.headroom = 60;
  const router::Llumnix router(o);
  std::vector<InstanceView> view{instance(4, 50), instance(4, 40)};
  EXPECT_EQ(router.route({}, {Seconds{0.0}, view}), 0u);
  view[0].urgent = 1;  // as if it had 50 - 60 blocks free
  EXPECT_EQ(router.route({}, {Seconds{0.0}, view}), 1u);
  view[0].urgent_running = 1;
  EXPECT_EQ(router.moves({Seconds{0.0}, view}), (std::vector<Move>{{0, 1}}));
  view[0].urgent_running = view[0].urgent = 4;  // nothing else is there to give
  EXPECT_TRUE(router.moves({Seconds{0.0}, view}).empty());
  EXPECT_EQ(router.route({}, {Seconds{0.0}, view}), 1u);  // and nobody is sent there
}

TEST(Llumnix, ChoosesTheLeastUrgentThenTheShortest) {
  const router::Llumnix router(options(2));
  EXPECT_EQ(router.chosen(std::vector<Movable>{{0, 10}, {1, 500}, {1, 300}, {0, 5}}), 2u);
  EXPECT_EQ(router.chosen(std::vector<Movable>{{0, 10}, {0, 5}, {0, 5}}), 1u);
}

}  // namespace
}  // namespace quire::router_test
