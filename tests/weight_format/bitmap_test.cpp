#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <quire/weight_format/bitmap.hpp>
#include <tests/weight_format/stored_panel.hpp>

namespace quire::testing {
namespace {

using weight_format::Bitmap;

TEST(BitmapWeightFormat, KeepsWhatIsNotZeroWhereThereIsRoom) {
  auto weights = normal_numbers(64 * 50, 1);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (i % 2 == 1) weights[i] = 0;  // half of them, anywhere else in the next row
  }
  weights[4] = std::numeric_limits<float>::quiet_NaN();
  weights[6] = std::numeric_limits<float>::infinity();
  const StoredPanel<Bitmap<50>> p(64, 50, weights);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (i == 4) {
      EXPECT_TRUE(std::isnan(p.kept[i]));
    } else {
      EXPECT_EQ(p.kept[i], to_float(to_bf16(weights[i]))) << i;
    }
  }
}

TEST(BitmapWeightFormat, DropsTheSmallestOfAPanelThatHasNoRoom) {
  const auto weights = normal_numbers(64 * 100, 2);
  const StoredPanel<Bitmap<30>> p(64, 100, weights);
  float dropped = 0, least = 1e30f;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (p.kept[i] == 0) {
      dropped = std::max(dropped, std::abs(weights[i]));
    } else {
      ++kept;
      least = std::min(least, std::abs(weights[i]));
    }
  }
  EXPECT_EQ(kept, 64u * 100u * 30u / 100u);
  EXPECT_LE(dropped, least);
}

TEST(BitmapWeightFormat, TakesABitAWeightAndSixteenAKeptOne) {
  EXPECT_EQ(Bitmap<50>::panel_bytes(64, 2048),
            64u * 2048u * 9u / 8u + 64);  // and what a vector reads behind them
  EXPECT_EQ(8 * Bitmap<50>::weight_bytes(2048), 9.0);
  EXPECT_EQ(Bitmap<70>::name, "bitmap_70");
}

TEST(BitmapWeightFormat, ProductsAreThoseOfTheKeptWeights) {
  expect_products_of_kept_weights<Bitmap<50>>();
  expect_products_of_kept_weights<Bitmap<1>>();
  expect_products_of_kept_weights<Bitmap<99>>();
}
TEST(BitmapWeightFormat, UnpacksAnyPart) { expect_any_part_unpacks<Bitmap<50>>(); }

}  // namespace
}  // namespace quire::testing
