#include <quire/eviction/belady.hpp>

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveBelady {
  static constexpr std::string_view name = "model";
  explicit NaiveBelady(BlockCount) {}
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b, .last_access = ++now, .context = context});
  }
  void on_access(BlockId b, const BlockContext& context) {
    list.at(b).last_access = ++now;
    list.at(b).context = context;
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) { list.take(b); }
  std::optional<BlockId> victim() {
    return list.least([](auto& a, auto& b) {
      const auto never = std::numeric_limits<std::uint64_t>::max();
      const auto next_a = a.context.next_use.value_or(never);
      const auto next_b = b.context.next_use.value_or(never);
      return next_a != next_b ? next_a > next_b : a.last_access < b.last_access;
    });
  }
  NaiveList list;
  std::uint64_t now = 0;
};

TEST(Belady, EqualsItsModel) { agree_with_model<eviction::Belady, NaiveBelady>(); }

TEST(Belady, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Belady, NaiveBelady>()), 11837u); }

// The example of every textbook: 7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1 with three frames has nine
// faults (Silberschatz et al., Operating System Concepts).
TEST(Belady, TheTextbookStringHasNineFaults) {
  const std::vector<std::uint32_t> string{7, 0, 1, 2, 0, 3, 0, 4, 2, 3,
                                          0, 3, 2, 1, 2, 0, 1, 7, 0, 1};
  eviction::Belady belady(BlockCount{8});  // ids up to 7; three of them at a time
  std::set<std::uint32_t> in;
  int faults = 0;
  for (std::size_t i = 0; i < string.size(); ++i) {
    BlockContext context;
    const auto next = std::find(string.begin() + static_cast<long>(i) + 1, string.end(), string[i]);
    if (next != string.end()) context.next_use = static_cast<std::uint64_t>(next - string.begin());
    if (in.contains(string[i])) {
      hit(belady, string[i], context);
      continue;
    }
    ++faults;
    if (in.size() == 3) in.erase(static_cast<std::uint32_t>(evict(belady)));
    enter(belady, string[i], context);
    in.insert(string[i]);
  }
  EXPECT_EQ(faults, 9);
}

}  // namespace
}  // namespace quire::eviction_test
