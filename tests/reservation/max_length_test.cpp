#include <quire/reservation/max_length.hpp>

#include <gtest/gtest.h>

namespace quire::reservation_test {
namespace {

TEST(MaxLength, IsTheModelsLengthWhateverTheRequest) {
  EXPECT_TRUE(reservation::MaxLength::contiguous);
  for (const std::int64_t prompt : {1, 7, 2047}) {
    const LengthHint hint{.prompt = prompt, .limit = 9, .output = Tokens{3}, .max_length = 2048};
    EXPECT_EQ(reservation::MaxLength::reserve(hint), Tokens{2048});
  }
}

}  // namespace
}  // namespace quire::reservation_test
