#include <cmath>

#include <quire/kv_format/fp8_e4m3.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Fp8E4m3KvFormat, StoresEveryCodeExactlyAndSaturates) {
  std::vector<float> codes;
  for (unsigned b = 0; b < 256; ++b) {
    const float x = to_float(E4m3{static_cast<std::uint8_t>(b)});
    codes.push_back(std::isnan(x) ? 0.0f : x);
  }
  EXPECT_EQ(through<Fp8E4m3>(codes), codes);
  EXPECT_EQ(through<Fp8E4m3>({1e9f, -1e9f, 449, 1e-9f}), (std::vector<float>{448, -448, 448, 0}));
  EXPECT_EQ(Fp8E4m3::token_bytes(128), 128.0);
}

}  // namespace
}  // namespace quire::testing
