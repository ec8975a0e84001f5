#include <cmath>

#include <quire/kv_format/fp8_per_token_head.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Fp8PerTokenHeadKvFormat, PutsTheLargestMagnitudeAtTheTopOfTheRange) {
  for (const float size : {1e-6f, 1.0f, 1e6f}) {
    std::vector<float> token = random_token(64, 1);
    for (float& x : token) x *= size;
    const std::vector<float> got = through<Fp8PerTokenHead>(token);
    for (std::size_t i = 0; i < token.size(); ++i) {
      EXPECT_NEAR(got[i], token[i], std::abs(token[i]) / 16 + size * 1e-5f);
    }
  }
  EXPECT_EQ(Fp8PerTokenHead::token_bytes(128), 132.0);
}

}  // namespace
}  // namespace quire::testing
