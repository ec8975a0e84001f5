#include <cmath>

#include <quire/kv_format/int4_per_token_head.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Int4PerTokenHeadKvFormat, OneOutlierCoarsensItsWholeTokenOnly) {
  EXPECT_EQ(Int4PerTokenHead::token_bytes(128), 68.0);
  EXPECT_EQ(Int3PerTokenHead::token_bytes(64), 28.0);
  std::vector<float> token = random_token(64, 2);
  const std::vector<float> fine = through<Int4PerTokenHead>(token);
  double error = 0;
  for (std::size_t i = 0; i < 64; ++i) error += std::abs(fine[i] - token[i]);
  token[40] = 1000;
  const std::vector<float> coarse = through<Int4PerTokenHead>(token);
  for (std::size_t i = 0; i < 64; ++i) error -= std::abs(coarse[i] - token[i]);
  EXPECT_LT(error, -20.0);
}

}  // namespace
}  // namespace quire::testing
