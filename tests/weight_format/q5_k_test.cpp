#include <quire/weight_format/q5_k.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Q5KWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Q5K;
  EXPECT_EQ(8 * F::weight_bytes(256), 5.5);
  EXPECT_LT(rounding_error<F>(64, 256), 0.05);
}

}  // namespace
}  // namespace quire::testing
