#include <quire/eviction/workload_aware.hpp>

#include <gtest/gtest.h>

#include <array>
#include <tuple>

#include "tests/eviction/model.hpp"

namespace quire::eviction_test {
namespace {

struct NaiveWorkloadAware {
  static constexpr std::string_view name = "model";
  explicit NaiveWorkloadAware(BlockCount capacity) : stay(static_cast<double>(capacity.value)) {
    for (Category& c : categories) c.mean = stay;
  }
  struct Category {
    double uses = 2;
    double reuses = 1;
    double mean = 0;
  };
  Category& of(const NaiveBlock& x) {
    return categories[static_cast<std::size_t>(x.context.category)];
  }
  [[nodiscard]] double age(const NaiveBlock& x) const {
    return static_cast<double>(now - x.last_access + 1);
  }
  void on_insert(BlockId b, const BlockContext& context) {
    list.blocks.push_back({.id = b, .last_access = ++now, .context = context});
    of(list.at(b)).uses += 1;
  }
  void on_access(BlockId b, const BlockContext& context) {
    NaiveBlock& x = list.at(b);
    of(x).reuses += 1;
    of(x).mean += (age(x) - of(x).mean) / 256;
    x.last_access = ++now;
    x.context = context;
    of(x).uses += 1;
  }
  void set_evictable(BlockId b, bool value) { sample.set(b, value); }
  void on_remove(BlockId b) {
    if (victim() == b) stay += (age(list.at(b)) - stay) / 256;
    list.take(b);
    sample.set(b, false);
    ++sample.draw;
  }
  std::optional<BlockId> victim() {
    return sample.least([this](BlockId b) {
      const NaiveBlock& x = list.at(b);
      const Category& c = of(x);
      const double within =
          c.reuses / c.uses * std::exp(-age(x) / c.mean) * -std::expm1(-stay / c.mean);
      return std::tuple(within, -x.context.position.value, x.last_access);
    });
  }
  NaiveList list;
  NaiveSample sample;
  std::array<Category, 3> categories{};
  double stay;
  std::uint64_t now = 0;
};

TEST(WorkloadAware, EqualsItsModel) {
  agree_with_model<eviction::WorkloadAware, NaiveWorkloadAware>();
}

TEST(WorkloadAware, GoldenHits) {
  EXPECT_EQ((golden_hits<eviction::WorkloadAware, NaiveWorkloadAware>()), 7926u);
}

TEST(WorkloadAware, LearnsWhichCategoryComesBack) {
  eviction::WorkloadAware aware(BlockCount{8});
  // Category 1 is used again and again, category 2 never.
  for (int i = 0; i < 200; ++i) {
    enter(aware, 0, {.category = 1});
    hit(aware, 0, {.category = 1});
    enter(aware, 1, {.category = 2});
    aware.on_remove(BlockId{0});
    aware.on_remove(BlockId{1});
  }
  enter(aware, 2, {.category = 1});
  enter(aware, 3, {.category = 2});
  enter(aware, 4, {.category = 1});
  EXPECT_EQ(evict(aware), 3);
}

TEST(WorkloadAware, OfEqualsTheOneFurthestIntoThePromptGoes) {
  eviction::WorkloadAware aware(BlockCount{100});
  enter(aware, 0, {.position = 64});
  enter(aware, 1, {.position = 0});
  hit(aware, 0, {.position = 64});
  EXPECT_EQ(evict(aware), 1);  // not equal: its last use is longer ago
}

}  // namespace
}  // namespace quire::eviction_test
