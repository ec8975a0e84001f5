#include <quire/weight_format/q8_0.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Q80WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Q80;
  EXPECT_EQ(8 * F::weight_bytes(256), 8.5);
  EXPECT_LT(rounding_error<F>(64, 256), 0.006);
}

}  // namespace
}  // namespace quire::testing
