#include <cmath>

#include <quire/kv_format/nf4.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Nf4KvFormat, ItsSixteenCodesAreExact) {
  EXPECT_EQ(Nf4::token_bytes(64), 36.0);
  std::vector<float> token(64);
  for (std::size_t i = 0; i < 64; ++i) token[i] = blockwise::nf4_codes[i % 16] * 3;
  const std::vector<float> got = through<Nf4>(token);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_FLOAT_EQ(got[i], token[i]);
}

}  // namespace
}  // namespace quire::testing
