#include <cmath>

#include <quire/kv_format/mxfp8.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Mxfp8KvFormat, ScalesByThePowerOfTwoBelowTheLargest) {
  EXPECT_EQ(Mxfp8::token_bytes(64), 66.0);  // 8.25 bits a value
  std::vector<float> token(32, 0.0f);
  token[0] = 448 * 0x1p-3f;
  token[1] = 0x1p-9f * 0x1p-3f;
  EXPECT_EQ(through<Mxfp8>(token), token);
}

}  // namespace
}  // namespace quire::testing
