#include <cmath>

#include <quire/kv_format/q8_0.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Q80KvFormat, TakesGgmlsBlocks) {
  EXPECT_EQ(Q80::token_bytes(64), 68.0);
  std::vector<float> token(32);
  for (std::size_t i = 0; i < 32; ++i) token[i] = static_cast<float>(i) - 16;
  token[31] = 127;
  EXPECT_EQ(through<Q80>(token), token);
}

}  // namespace
}  // namespace quire::testing
