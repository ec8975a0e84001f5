#include <cmath>

#include <quire/kv_format/int4_grouped.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(Int4GroupedKvFormat, ErrsByHalfAStepOfItsGroupAlone) {
  EXPECT_EQ(Int4Grouped<32>::token_bytes(128), 80.0);  // 5 bits a value
  EXPECT_EQ(Int4Grouped<128>::token_bytes(128), 68.0);
  EXPECT_EQ(Int4Grouped<32>::name, "int4_g32");
  EXPECT_FALSE(Int4Grouped<128>::refusal(16, 64).empty());
  std::vector<float> token = random_token(64, 2);
  token[40] = 1000;  // an outlier in the second group
  const std::vector<float> got = through<Int4Grouped<32>>(token);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_NEAR(got[i], token[i], 0.25);
  EXPECT_NEAR(got[40], 1000, 1);
}

}  // namespace
}  // namespace quire::testing
