#include <cmath>

#include <quire/kv_format/mxfp4.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Mxfp4KvFormat, ScalesByThePowerOfTwoBelowTheLargestAndSaturates) {
  EXPECT_EQ(Mxfp4::token_bytes(64), 34.0);  // 4.25 bits a value
  std::vector<float> token(32, 0.0f);
  for (std::uint8_t c = 0; c < 16; ++c) token[c] = to_float(E2m1{c}) * 4;
  EXPECT_EQ(through<Mxfp4>(token), token);
  token[0] = 31;  // below 32: the scale stays 4, and the value saturates at 24
  EXPECT_EQ(through<Mxfp4>(token)[0], 24.0f);
}

}  // namespace
}  // namespace quire::testing
