#include <quire/reservation/oracle.hpp>

#include <gtest/gtest.h>

namespace quire::reservation_test {
namespace {

TEST(Oracle, IsTheTrueLength) {
  EXPECT_TRUE(reservation::Oracle::contiguous);
  LengthHint hint{.prompt = 100, .limit = 500, .output = Tokens{25}, .max_length = 2048};
  EXPECT_EQ(reservation::Oracle::reserve(hint), Tokens{125});
  hint.output = 5000;
  EXPECT_EQ(reservation::Oracle::reserve(hint), Tokens{2048});
}

TEST(Oracle, WithoutATrueLengthIsTheRequestsLimit) {
  const LengthHint hint{.prompt = 100, .limit = 500, .output = {}, .max_length = 2048};
  EXPECT_EQ(reservation::Oracle::reserve(hint), Tokens{600});
}

}  // namespace
}  // namespace quire::reservation_test
