#include <quire/weight_format/q6_k.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Q6KWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Q6K;
  EXPECT_EQ(8 * F::weight_bytes(256), 6.5625);
  EXPECT_LT(rounding_error<F>(64, 256), 0.025);
}

}  // namespace
}  // namespace quire::testing
