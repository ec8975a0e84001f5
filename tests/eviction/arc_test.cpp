#include <quire/eviction/arc.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveArc {
  static constexpr std::string_view name = "model";
  explicit NaiveArc(BlockCount capacity) : c(static_cast<std::size_t>(capacity.value)) {}
  NaiveList& of(BlockId b) { return t2.contains(b) ? t2 : t1; }
  static bool has(const std::vector<std::uint64_t>& list, std::uint64_t name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  }
  void on_insert(BlockId b, const BlockContext& context) {
    const auto l1 = static_cast<double>(b1.size());
    const auto l2 = static_cast<double>(b2.size());
    const bool in_b1 = has(b1, context.content);
    const bool in_b2 = has(b2, context.content);
    if (in_b1) p = std::min(static_cast<double>(c), p + (l1 >= l2 ? 1 : l2 / l1));
    if (in_b2) p = std::max(0.0, p - (l2 >= l1 ? 1 : l1 / l2));
    std::erase(b1, context.content);
    std::erase(b2, context.content);
    (in_b1 || in_b2 ? t2 : t1).blocks.push_back({.id = b, .context = context});
    while (t1.blocks.size() + b1.size() > c && !b1.empty()) b1.erase(b1.begin());
    while (t1.blocks.size() + b1.size() + t2.blocks.size() + b2.size() > 2 * c && !b2.empty()) {
      b2.erase(b2.begin());
    }
  }
  void on_access(BlockId b, const BlockContext&) { t2.blocks.push_back(of(b).take(b)); }
  void set_evictable(BlockId b, bool value) { of(b).at(b).evictable = value; }
  void on_remove(BlockId b) {
    const bool evicted = victim() == b;
    const bool seen_again = t2.contains(b);
    const NaiveBlock gone = of(b).take(b);
    if (evicted) (seen_again ? b2 : b1).push_back(gone.context.content);
  }
  std::optional<BlockId> victim() {
    const auto from_t1 = t1.oldest_evictable();
    const auto from_t2 = t2.oldest_evictable();
    if (!from_t1) return from_t2;
    if (!from_t2) return from_t1;
    return static_cast<double>(t1.blocks.size()) > p ? from_t1 : from_t2;
  }
  std::size_t c;
  double p = 0;
  NaiveList t1;
  NaiveList t2;
  std::vector<std::uint64_t> b1;
  std::vector<std::uint64_t> b2;
};

TEST(Arc, EqualsItsModel) { agree_with_model<eviction::Arc, NaiveArc>(); }

TEST(Arc, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Arc, NaiveArc>()), 9765u); }

TEST(Arc, AGhostOfT1RaisesItsTarget) {
  eviction::Arc arc(BlockCount{4});
  for (const std::uint32_t b : {0u, 1u, 2u, 3u}) enter(arc, b, {.content = 10 + b});
  hit(arc, 0);                     // T1: 1 2 3, T2: 0
  EXPECT_EQ(evict(arc), 1);        // T1 is longer than its target, 0
  enter(arc, 1, {.content = 11});  // in B1: target 1, T1: 2 3, T2: 0 1
  EXPECT_EQ(evict(arc), 2);        // two are still more than one
  enter(arc, 2, {.content = 12});  // target 2, T1: 3, T2: 0 1 2
  EXPECT_EQ(evict(arc), 0);        // T1 is below its target: T2 gives
}

}  // namespace
}  // namespace quire::eviction_test
