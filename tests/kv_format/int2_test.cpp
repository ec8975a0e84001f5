#include <cmath>

#include <quire/kv_format/int2.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Int2KvFormat, HasFourLevelsFromTheLeastToTheLargest) {
  EXPECT_EQ(Int2::token_bytes(64), 24.0);  // 3 bits a value
  std::vector<float> token(32);
  for (std::size_t i = 0; i < 32; ++i) token[i] = static_cast<float>(i % 4);
  EXPECT_EQ(through<Int2>(token), token);
}

}  // namespace
}  // namespace quire::testing
