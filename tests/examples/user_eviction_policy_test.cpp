// A policy written from the concept alone, outside the library: the whole of it is these lines.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include <quire/eviction/concepts.hpp>

#include "tests/eviction/model.hpp"

namespace lab {

/// Gives up the block whose content is cheapest to make again.
class CheapestFirst {
 public:
  static constexpr std::string_view name = "cheapest_first";
  explicit CheapestFirst(quire::BlockCount) {}
  void on_insert(quire::BlockId b, const quire::BlockContext& c) { cost_[b] = c.recompute; }
  void on_access(quire::BlockId, const quire::BlockContext&) {}
  void set_evictable(quire::BlockId b, bool evictable) {
    evictable ? void(order_.insert({cost_[b], b})) : void(order_.erase({cost_[b], b}));
  }
  void on_remove(quire::BlockId b) { order_.erase({cost_[b], b}); }
  std::optional<quire::BlockId> victim() const {
    return order_.empty() ? std::nullopt : std::optional(order_.begin()->second);
  }

 private:
  std::map<quire::BlockId, quire::Flops> cost_;
  std::set<std::pair<quire::Flops, quire::BlockId>> order_;
};
static_assert(quire::EvictionPolicy<CheapestFirst>);

}  // namespace lab

namespace quire::eviction_test {
namespace {

TEST(UserEvictionPolicy, RunsInAReplay) {
  lab::CheapestFirst policy(BlockCount{200});
  const auto counts = eviction::replay(policy, BlockCount{200}, zipf_with_scans());
  EXPECT_EQ(counts.references, zipf_with_scans().references().size());
  EXPECT_GT(counts.hits, 0u);
}

TEST(UserEvictionPolicy, GivesUpTheCheapest) {
  lab::CheapestFirst policy(BlockCount{3});
  enter(policy, 0, {.recompute = 3.0});
  enter(policy, 1, {.recompute = 1.0});
  enter(policy, 2, {.recompute = 2.0});
  EXPECT_EQ(evict(policy), 1);
  EXPECT_EQ(evict(policy), 2);
}

}  // namespace
}  // namespace quire::eviction_test
