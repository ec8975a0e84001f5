#include <quire/core/units.hpp>

#include <type_traits>

#include <gtest/gtest.h>

namespace quire {
namespace {

// The compiler is the test here: a unit never turns into another, nor into a plain number.
static_assert(!std::is_convertible_v<Tokens, BlockCount>);
static_assert(!std::is_convertible_v<Bytes, Tokens>);
static_assert(!std::is_convertible_v<Seconds, double>);
static_assert(std::is_convertible_v<int, Tokens>);
static_assert(sizeof(Tokens) == sizeof(std::int64_t));

TEST(Units, AddAndScaleWithinTheirKind) {
  Tokens t = 5;
  t += 3;
  EXPECT_EQ(t, Tokens(8));
  t -= 10;
  EXPECT_EQ(t, Tokens(-2));
  EXPECT_EQ(Tokens(7) - Tokens(2), Tokens(5));
  EXPECT_EQ(-Tokens(7), Tokens(-7));
  EXPECT_EQ(Tokens(7) * 3, 3 * Tokens(7));
  EXPECT_EQ(Tokens(21) / 2, Tokens(10));
  EXPECT_LT(Seconds(0.5), Seconds(0.75));
}

TEST(Units, RatioOfNothingIsZero) {
  EXPECT_DOUBLE_EQ(ratio(Bytes(3), Bytes(4)), 0.75);
  EXPECT_DOUBLE_EQ(ratio(Seconds(3), Seconds(0)), 0.0);
}

TEST(Units, BlocksCoverTheirTokensAndNoMore) {
  for (std::int64_t block = 1; block <= 17; ++block) {
    for (std::int64_t tokens = 0; tokens <= 100; ++tokens) {
      const auto blocks = blocks_for(tokens, block).value;
      EXPECT_GE(blocks * block, tokens);
      EXPECT_LT((blocks - 1) * block, tokens == 0 ? 1 : tokens) << tokens << " in " << block;
    }
  }
  EXPECT_EQ(blocks_for(0, 16), BlockCount(0));
}

}  // namespace
}  // namespace quire
