#include <quire/core/processors.hpp>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(Processors, ListsAreReadAsLinuxWritesThem) {
  EXPECT_EQ(parse_processor_list("0-3,8,10-11\n"), (std::vector<int>{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_processor_list("7"), std::vector<int>{7});
  for (const char* bad : {"", "\n", "a", "1-", "3-1", "1,", ",1", "1;2", "-1", "1-2-3",
                          "99999999999999", "0-99999999"}) {
    EXPECT_EQ(parse_processor_list(bad), std::vector<int>{}) << bad;
  }
  const std::string whole = "0-3,8";
  for (std::size_t n = 0; n < whole.size(); ++n) (void)parse_processor_list(whole.substr(0, n));
}

/// Two nodes of two cores with two processors each, numbered as many servers are: siblings far apart.
std::vector<Processor> two_nodes() {
  std::vector<Processor> all;
  for (int id = 0; id < 8; ++id) all.push_back({id, id % 4, id % 4 / 2});
  return all;
}
TEST(Processors, ThreadsGetCoresBeforeSiblingsAndNodesInTurn) {
  const ThreadPlaces two = place_threads(2, two_nodes());
  EXPECT_EQ(two.processors, (std::vector<int>{0, 2}));
  EXPECT_EQ(two.nodes, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(two.node_count(), 2u);
  const ThreadPlaces five = place_threads(5, two_nodes());
  EXPECT_EQ(five.processors, (std::vector<int>{0, 1, 4, 2, 3}));
  EXPECT_EQ(five.nodes, (std::vector<std::size_t>{0, 0, 0, 1, 1}));
  EXPECT_EQ(place_threads(8, two_nodes()).processors, (std::vector<int>{0, 1, 4, 5, 2, 3, 6, 7}));
}
TEST(Processors, ANodeThatIsFullIsPassedOver) {
  const std::vector<Processor> uneven{{0, 0, 3}, {1, 1, 7}, {2, 2, 7}, {3, 3, 7}};
  const ThreadPlaces places = place_threads(4, uneven);
  EXPECT_EQ(places.processors, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(places.nodes, (std::vector<std::size_t>{0, 1, 1, 1}));
  EXPECT_EQ(place_threads(1, uneven).node_count(), 1u);
}
TEST(Processors, MoreThreadsThanProcessorsAreRefused) {
  try {
    (void)place_threads(9, two_nodes());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("at most 8"), std::string::npos) << error.what();
  }
  EXPECT_THROW((void)place_threads(0, two_nodes()), Error);
}
TEST(Processors, AnyPlacementIsOneProcessorEach) {
  for (int nodes = 1; nodes <= 4; ++nodes) {
    for (int cores = 1; cores <= 5; ++cores) {
      std::vector<Processor> all;
      for (int id = 0; id < 2 * nodes * cores; ++id) {
        all.push_back({id, id / 2, id / 2 % nodes});
      }
      for (std::size_t threads = 1; threads <= all.size(); ++threads) {
        const ThreadPlaces p = place_threads(threads, all);
        EXPECT_EQ(std::set<int>(p.processors.begin(), p.processors.end()).size(), threads);
        EXPECT_TRUE(std::is_sorted(p.nodes.begin(), p.nodes.end()));
        EXPECT_EQ(p.node_count(), std::min<std::size_t>(threads, static_cast<std::size_t>(nodes)));
        for (std::size_t i = 0; i < threads; ++i) {
          for (std::size_t j = 0; j < i; ++j) {
            const auto node = [&](std::size_t n) {
              return all[static_cast<std::size_t>(p.processors[n])].node;
            };
            EXPECT_EQ(node(i) == node(j), p.nodes[i] == p.nodes[j]);
          }
        }
      }
    }
  }
}
TEST(Processors, ThisMachineHasSome) {
  const std::vector<Processor> all = processors_of_machine();
#ifdef __linux__
  ASSERT_FALSE(all.empty());
  EXPECT_LE(all.size(), std::max(1u, std::thread::hardware_concurrency()));
#endif
  std::set<int> ids;
  for (const Processor& p : all) ids.insert(p.id);
  EXPECT_EQ(ids.size(), all.size());
}

}  // namespace
}  // namespace quire
