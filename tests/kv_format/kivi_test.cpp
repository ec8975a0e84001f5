#include <cmath>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/kivi.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(KiviKvFormat, IsPerChannelForKeysAndPerTokenForValues) {
  using F = Kivi<2, 32, 128>;
  EXPECT_EQ(F::name, "kivi2_g32_r128");
  EXPECT_EQ(token_bytes<F>(1, 1, 64), 2 * 24.0);  // 3 bits a value
  EXPECT_TRUE(keeps_open_blocks<F>);
  EXPECT_EQ(residual_of<F::Keys>, 128u);
  EXPECT_EQ(residual_of<F::Values>, 128u);
  EXPECT_EQ(codec_of<F>().keys.store, nullptr);
  EXPECT_NE(codec_of<F>().keys.seal, nullptr);
  EXPECT_NE(codec_of<F>().values.store, nullptr);
}

}  // namespace
}  // namespace quire::testing
