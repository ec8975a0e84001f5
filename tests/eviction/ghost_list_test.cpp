#include <quire/eviction/ghost_list.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/eviction/slot_log.hpp>

namespace quire::eviction_test {
namespace {

TEST(GhostList, EqualsAVector) {
  for (const int capacity : {0, 1, 2, 5, 100}) {
    Rng rng(static_cast<std::uint64_t>(capacity));
    eviction::GhostList ghosts(BlockCount{capacity});
    std::vector<std::uint64_t> vector;  // oldest first
    for (int step = 0; step < 5000; ++step) {
      const std::uint64_t content = rng.below(static_cast<std::uint64_t>(2 * capacity + 2));
      const bool present = std::find(vector.begin(), vector.end(), content) != vector.end();
      ASSERT_EQ(ghosts.contains(content), present);
      switch (rng.below(4)) {
        case 0:
          ASSERT_EQ(ghosts.erase(content), present);
          std::erase(vector, content);
          break;
        case 1:
          ghosts.pop_oldest();
          if (!vector.empty()) vector.erase(vector.begin());
          break;
        default:
          ghosts.push(content);
          if (content == 0) break;  // unknown content is not remembered
          std::erase(vector, content);
          vector.push_back(content);
          if (static_cast<int>(vector.size()) > capacity) vector.erase(vector.begin());
      }
      ASSERT_EQ(ghosts.size(), vector.size());
      ASSERT_EQ(ghosts.oldest(), vector.empty() ? std::nullopt : std::optional(vector.front()));
    }
  }
}

// Two lists in one table: a name is in one of them, and the room is common.
TEST(GhostList, TwoListsEqualTwoVectors) {
  for (const int capacity : {0, 1, 2, 5, 100}) {
    Rng rng(static_cast<std::uint64_t>(capacity));
    eviction::TwoGhostLists ghosts(BlockCount{capacity});
    std::vector<std::uint64_t> lists[2];  // oldest first
    for (int step = 0; step < 5000; ++step) {
      const std::uint64_t content = rng.below(static_cast<std::uint64_t>(2 * capacity + 2));
      const std::size_t to = rng.below(2);
      std::optional<std::size_t> in;
      for (const std::size_t l : {0, 1}) {
        if (std::count(lists[l].begin(), lists[l].end(), content) != 0) in = l;
      }
      ASSERT_EQ(ghosts.list_of(content), in);
      switch (rng.below(4)) {
        case 0:
          ASSERT_EQ(ghosts.erase(content), in.has_value());
          if (in) std::erase(lists[*in], content);
          break;
        case 1:
          ghosts.pop_oldest(to);
          if (!lists[to].empty()) lists[to].erase(lists[to].begin());
          break;
        default:
          ghosts.push(content, {}, to);
          if (content == 0 || capacity == 0) break;
          if (in) std::erase(lists[*in], content);
          if (lists[0].size() + lists[1].size() == static_cast<std::size_t>(capacity)) {
            auto& gives = lists[to].empty() ? lists[1 - to] : lists[to];
            gives.erase(gives.begin());
          }
          lists[to].push_back(content);
      }
      for (const std::size_t l : {0, 1}) {
        ASSERT_EQ(ghosts.size(l), lists[l].size());
        ASSERT_EQ(ghosts.oldest(l),
                  lists[l].empty() ? std::nullopt : std::optional(lists[l].front()));
      }
    }
  }
}

// Two names stay at the old end while others come and go: the slots between are used again.
TEST(GhostList, OldNamesStayWhileOthersComeAndGo) {
  constexpr int capacity = 500;
  for (const std::uint64_t kept : {1u, 200u, 499u}) {
    eviction::GhostMap<std::uint64_t, 2> ghosts(BlockCount{capacity});
    for (std::uint64_t name = 1; name <= kept; ++name) ghosts.push(name, 3 * name, name % 2);
    for (std::uint64_t name = 1000; name < 20000; ++name) {
      ghosts.push(name, 3 * name, name / 7 % 2);
      ASSERT_EQ(ghosts.list_of(name), name / 7 % 2);
      if (name % 3 == 0) ghosts.push(kept, 3 * kept, kept % 2);
      ASSERT_EQ(ghosts.take(name), name / 7 % 2);
      ASSERT_EQ(ghosts.take(name), std::nullopt);
      ASSERT_EQ(ghosts.size(0) + ghosts.size(1), kept);
      const std::uint64_t one = 1 + name % kept;
      ASSERT_EQ(ghosts.list_of(one), one % 2);
      ASSERT_NE(ghosts.value(one), nullptr);
      ASSERT_EQ(*ghosts.value(one), 3 * one);
    }
    for (std::uint64_t name = 1; name <= kept; ++name) {
      ASSERT_EQ(ghosts.oldest(name % 2), name);
      ghosts.pop_oldest(name % 2);
    }
    EXPECT_EQ(ghosts.size(0) + ghosts.size(1), 0u);
  }
}

/// What lies in a ring of slots, beside a plain sequence of the same names.
class LoggedNames {
 public:
  explicit LoggedNames(std::size_t held)
      : slots_(eviction::SlotLog::slots_for(held), 0), log_(slots_.size()) {}

  void arrive(int name) {
    if (log_.crowded()) {
      log_.pack([this] { return oldest(); }, [this](std::size_t w) { return word(w); },
                [this](std::size_t from, std::size_t to) {
                  ASSERT_EQ(slots_[to], 0);
                  std::swap(slots_[from], slots_[to]);
                });
    }
    ASSERT_LT(log_.span(), slots_.size());
    slots_[log_.take()] = name;
    names_.push_back(name);
  }
  void leave(std::size_t place) {
    *std::find(slots_.begin(), slots_.end(), names_[place]) = 0;
    names_.erase(names_.begin() + static_cast<std::ptrdiff_t>(place));
    (void)log_.advance([this] { return oldest(); });
  }
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  void check() const {
    std::vector<int> found;
    for (std::size_t i = 0; i < log_.span(); ++i) {
      if (slots_[log_.at(i)] != 0) found.push_back(slots_[log_.at(i)]);
    }
    ASSERT_EQ(found, names_);
    const auto taken = std::count_if(slots_.begin(), slots_.end(), [](int n) { return n != 0; });
    ASSERT_EQ(static_cast<std::size_t>(taken), names_.size());
  }

 private:
  [[nodiscard]] std::size_t oldest() const {
    for (std::size_t i = 0; i < log_.span(); ++i) {
      if (slots_[log_.at(i)] != 0) return log_.at(i);
    }
    return log_.tail();
  }
  [[nodiscard]] std::uint64_t word(std::size_t w) const {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 64; ++i) {
      bits |= std::uint64_t{slots_[64 * w + i] != 0} << i;
    }
    return bits;
  }

  std::vector<int> slots_;  // 0: nothing
  eviction::SlotLog log_;
  std::vector<int> names_;  // in order of arrival
};

/// Old names stay and keep the ring crowded; now and then all but the newest leave at once, also while
/// their slots are being packed.
TEST(SlotLog, KeepsItsOrderWhoeverLeavesWhilePackingIsUnderWay) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Rng rng(seed);
    LoggedNames ring(300);
    int next = 1;
    for (int step = 0; step < 6000; ++step) {
      if (ring.size() >= 300) ring.leave(250 + rng.below(50));  // among the newer ones
      ring.arrive(next++);
      if (rng.below(400) == 0) {
        while (ring.size() > 3) ring.leave(0);
      }
      if (step % 16 == 0) ring.check();
      if (HasFatalFailure()) FAIL() << "seed " << seed << ", step " << step;
    }
    ring.check();
  }
}

}  // namespace
}  // namespace quire::eviction_test
