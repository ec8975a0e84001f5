#include <quire/reservation/on_demand.hpp>

#include <gtest/gtest.h>

namespace quire::reservation_test {
namespace {

TEST(OnDemand, IsThePromptAlone) {
  EXPECT_FALSE(reservation::OnDemand::contiguous);
  const LengthHint hint{.prompt = 33, .limit = 500, .output = Tokens{400}, .max_length = 2048};
  EXPECT_EQ(reservation::OnDemand::reserve(hint), Tokens{33});
}

}  // namespace
}  // namespace quire::reservation_test
