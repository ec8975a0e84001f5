#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <quire/eviction/replay.hpp>

#include "tests/eviction/conformance.hpp"

// Hit ratios on a real trace: mooncake_conversation_trace.jsonl (Qin et al., Mooncake, FAST '25),
// whose directory the environment variable QUIRE_TRACES names. Every digit was obtained by an
// independent program beforehand.
namespace quire::eviction_test {
namespace {

std::optional<eviction::ReferenceString> conversation() {
  const char* folder = std::getenv("QUIRE_TRACES");
  if (folder == nullptr) return std::nullopt;
  std::ifstream file(std::string(folder) + "/mooncake_conversation_trace.jsonl");
  if (!file) return std::nullopt;
  eviction::ReferenceString trace;
  std::vector<std::uint64_t> row;
  for (std::string line; std::getline(file, line);) {
    row.clear();
    std::size_t at = line.find('[');
    while (at != std::string::npos && line[at] != ']') {
      ++at;
      std::size_t used = 0;
      row.push_back(1 + std::stoull(line.substr(at, 24), &used));  // 0 is nobody's name
      at = line.find_first_of(",]", at + used);
    }
    trace.add(row);
  }
  return trace;
}

constexpr std::array<int, 5> sizes{1000, 3000, 10000, 30000, 50000};

struct Expected {
  std::string_view policy;
  std::array<int, 5> ratio;  // hit ratio in 1/10000, at each of `sizes`
};
constexpr Expected table[] = {
    {"fifo", {435, 631, 1865, 3021, 3400}},     {"lru", {445, 650, 2112, 3257, 3546}},
    {"clock", {447, 668, 2143, 3291, 3542}},    {"lfu", {481, 747, 1318, 2759, 3438}},
    {"sieve", {481, 747, 1318, 2759, 3438}},    {"s3_fifo", {556, 875, 1955, 3061, 3501}},
    {"belady", {1906, 2944, 3664, 3664, 3664}},
};

TEST(Golden, HitRatiosOfTheConversationTrace) {
  const auto trace = conversation();
  if (!trace) GTEST_SKIP() << "QUIRE_TRACES does not name a folder with the Mooncake traces";
  ASSERT_EQ(trace->references().size(), 288500u);
  ASSERT_EQ(trace->distinct(), 182790u);
  int compared = 0;
  for_each_type(all_policies{}, [&]<class Policy>() {
    for (const Expected& row : table) {
      if (row.policy != Policy::name) continue;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        Policy policy(BlockCount{sizes[i]});
        const auto counts = eviction::replay(policy, BlockCount{sizes[i]}, *trace);
        EXPECT_EQ(std::lround(counts.hit_ratio() * 10000), row.ratio[i])
            << Policy::name << " at " << sizes[i] << ": " << counts.hits << " hits";
        ++compared;
      }
    }
  });
  EXPECT_EQ(compared, 35);
}

TEST(Golden, LruUnderThePrefixRule) {
  const auto trace = conversation();
  if (!trace) GTEST_SKIP() << "QUIRE_TRACES does not name a folder with the Mooncake traces";
  const std::pair<int, int> expected[] = {{1000, 45},   {5000, 112},  {10000, 212},
                                          {30000, 326}, {50000, 355}, {100000, 364}};
  for (const auto& [blocks, ratio] : expected) {
    eviction::Lru policy(BlockCount{blocks});
    const auto counts = eviction::replay(policy, BlockCount{blocks}, *trace, {.prefix_rule = true});
    EXPECT_EQ(std::lround(counts.hit_ratio() * 1000), ratio)
        << "at " << blocks << ": " << counts.hits << " hits";
  }
}

}  // namespace
}  // namespace quire::eviction_test
