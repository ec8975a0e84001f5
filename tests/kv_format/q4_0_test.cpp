#include <cmath>

#include <quire/kv_format/q4_0.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Q40KvFormat, TheLargestMagnitudeIsExactWhateverItsSign) {
  EXPECT_EQ(Q40::token_bytes(64), 36.0);
  for (const float most : {-8.0f, 8.0f}) {
    std::vector<float> token(32);
    for (std::size_t i = 0; i < 32; ++i) token[i] = static_cast<float>(i % 8) * most / -8;
    token[5] = most;
    EXPECT_EQ(through<Q40>(token)[5], most);
  }
}

}  // namespace
}  // namespace quire::testing
