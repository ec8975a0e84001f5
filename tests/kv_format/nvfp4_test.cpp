#include <cmath>

#include <quire/kv_format/nvfp4.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Nvfp4KvFormat, ScalesSixteenValuesToSix) {
  EXPECT_EQ(Nvfp4::token_bytes(64), 36.0);  // 4.5 bits a value
  std::vector<float> token(32, 0.0f);
  for (std::uint8_t c = 0; c < 16; ++c) {
    token[c] = to_float(E2m1{c}) * 0.75f;
    token[16u + c] = to_float(E2m1{c}) * 416;
  }
  EXPECT_EQ(through<Nvfp4>(token), token);
}

}  // namespace
}  // namespace quire::testing
