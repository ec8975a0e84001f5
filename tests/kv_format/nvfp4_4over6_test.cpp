#include <cmath>

#include <quire/kv_format/nvfp4_4over6.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Nvfp44over6KvFormat, NeverErrsMoreThanNvfp4) {
  EXPECT_EQ(Nvfp44over6::token_bytes(64), 36.0);
  double six = 0, either = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<float> token = random_token(16, seed);
    double a = 0, b = 0;
    const std::vector<float> x = through<BlockRows<blockwise::Nvfp4<>>>(token);
    const std::vector<float> y = through<Nvfp44over6>(token);
    for (std::size_t i = 0; i < 16; ++i) {
      a += std::pow(static_cast<double>(x[i] - token[i]), 2);
      b += std::pow(static_cast<double>(y[i] - token[i]), 2);
    }
    EXPECT_LE(b, a * 1.000001);
    six += a;
    either += b;
  }
  EXPECT_LT(either, six * 0.95);
}

}  // namespace
}  // namespace quire::testing
