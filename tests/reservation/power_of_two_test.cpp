#include <quire/reservation/power_of_two.hpp>

#include <gtest/gtest.h>

namespace quire::reservation_test {
namespace {

TEST(PowerOfTwo, RoundsTheOutputUpAndNotThePrompt) {
  EXPECT_TRUE(reservation::PowerOfTwo::contiguous);
  auto output_of = [](std::int64_t output) {
    const LengthHint hint{.prompt = 7, .limit = 2000, .output = Tokens{output}, .max_length = 8192};
    return reservation::PowerOfTwo::reserve(hint).value - 7;
  };
  EXPECT_EQ(output_of(25), 32);  // the paper's own example
  EXPECT_EQ(output_of(1), 1);
  EXPECT_EQ(output_of(32), 32);
  EXPECT_EQ(output_of(33), 64);
}

TEST(PowerOfTwo, EndsAtTheModelsLengthAndTakesTheLimitForAnUnknownOutput) {
  LengthHint hint{.prompt = 1500, .limit = 600, .output = {}, .max_length = 2048};
  EXPECT_EQ(reservation::PowerOfTwo::reserve(hint), Tokens{2048});
  hint.prompt = 10;
  EXPECT_EQ(reservation::PowerOfTwo::reserve(hint), Tokens{1034});
}

}  // namespace
}  // namespace quire::reservation_test
