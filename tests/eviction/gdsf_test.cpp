#include <quire/eviction/gdsf.hpp>

#include <gtest/gtest.h>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveGdsf {
  static constexpr std::string_view name = "model";
  explicit NaiveGdsf(BlockCount) {}
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b, .context = context});
    h.resize(std::max<std::size_t>(h.size(), b.value + 1));
    on_access(b, context);
  }
  void on_access(BlockId b, const BlockContext&) {
    NaiveBlock& x = list.at(b);
    ++x.count;
    x.last_access = ++now;
    const double cost = x.context.recompute == Flops{0.0} ? 1 : x.context.recompute.value;
    const auto size = static_cast<double>(std::max<std::int64_t>(1, x.context.size.value));
    h[b.value] = l + static_cast<double>(x.count) * (cost / size);
  }
  void set_evictable(BlockId b, bool value) { list.at(b).evictable = value; }
  void on_remove(BlockId b) {
    if (victim() == b) l = h[b.value];
    list.take(b);
  }
  std::optional<BlockId> victim() {
    return list.least([this](auto& a, auto& b) {
      return std::pair(h[a.id.value], a.last_access) < std::pair(h[b.id.value], b.last_access);
    });
  }
  NaiveList list;
  std::vector<double> h;
  double l = 0;
  std::uint64_t now = 0;
};

TEST(Gdsf, EqualsItsModel) { agree_with_model<eviction::Gdsf, NaiveGdsf>(); }

TEST(Gdsf, GoldenHits) { EXPECT_EQ((golden_hits<eviction::Gdsf, NaiveGdsf>()), 8923u); }

TEST(Gdsf, KeepsWhatIsDearUntilItAges) {
  eviction::Gdsf gdsf(BlockCount{3});
  enter(gdsf, 0, {.recompute = 3.0, .size = 1});
  enter(gdsf, 1, {.recompute = 1.0, .size = 1});
  EXPECT_EQ(evict(gdsf), 1);  // L = 1
  enter(gdsf, 1, {.recompute = 1.0, .size = 1});
  EXPECT_EQ(evict(gdsf), 1);  // 2 against 3; L = 2
  enter(gdsf, 1, {.recompute = 1.5, .size = 1});
  EXPECT_EQ(evict(gdsf), 0);  // 3.5 against 3
}

}  // namespace
}  // namespace quire::eviction_test
