#include <cmath>

#include <quire/kv_format/fp8_e5m2.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Fp8E5m2KvFormat, StoresEveryFiniteCodeExactlyAndSaturates) {
  std::vector<float> codes;
  for (unsigned b = 0; b < 256; ++b) {
    const float x = to_float(E5m2{static_cast<std::uint8_t>(b)});
    codes.push_back(std::isfinite(x) ? x : 0.0f);
  }
  EXPECT_EQ(through<Fp8E5m2>(codes), codes);
  EXPECT_EQ(through<Fp8E5m2>({1e9f, -1e9f}), (std::vector<float>{57344, -57344}));
}

}  // namespace
}  // namespace quire::testing
