#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <quire/weight_format/sparse_24.hpp>
#include <tests/weight_format/stored_panel.hpp>

namespace quire::testing {
namespace {

using weight_format::Sparse24;

TEST(Sparse24WeightFormat, KeepsTheTwoLargestOfFour) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> weights = {1, -2, 3, 0.5f, 1, 1, 1, 1, 0, 0, 0, -4, 2, nan, 3, 0, 5, 6};
  const StoredPanel<Sparse24> p(1, 18, weights);
  const std::vector<float> want = {0, -2, 3, 0, 1, 1, 0, 0, 0, 0, 0, -4, 0, nan, 3, 0, 5, 6};
  for (std::size_t k = 0; k < want.size(); ++k) {
    if (std::isnan(want[k])) {
      EXPECT_TRUE(std::isnan(p.kept[k])) << k;
    } else {
      EXPECT_EQ(p.kept[k], want[k]) << k;
    }
  }
}

TEST(Sparse24WeightFormat, TakesNineBitsAWeight) {
  EXPECT_EQ(Sparse24::panel_bytes(64, 2048), 64u * 2048u * 9u / 8u);
  EXPECT_EQ(8 * Sparse24::weight_bytes(2048), 9.0);
}

TEST(Sparse24WeightFormat, ProductsAreThoseOfTheKeptWeights) {
  expect_products_of_kept_weights<Sparse24>();
}
TEST(Sparse24WeightFormat, UnpacksAnyPart) { expect_any_part_unpacks<Sparse24>(); }

}  // namespace
}  // namespace quire::testing
