#include <quire/reservation/request_limit.hpp>

#include <gtest/gtest.h>

namespace quire::reservation_test {
namespace {

TEST(RequestLimit, IsPromptPlusMaxTokensWhateverTheTrueLength) {
  EXPECT_TRUE(reservation::RequestLimit::contiguous);
  LengthHint hint{.prompt = 100, .limit = 500, .output = Tokens{25}, .max_length = 2048};
  EXPECT_EQ(reservation::RequestLimit::reserve(hint), Tokens{600});
  hint.limit = 4000;
  EXPECT_EQ(reservation::RequestLimit::reserve(hint), Tokens{2048});
}

}  // namespace
}  // namespace quire::reservation_test
