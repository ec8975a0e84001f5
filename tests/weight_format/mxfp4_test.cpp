#include <quire/weight_format/mxfp4.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Mxfp4WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Mxfp4;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.25);
  EXPECT_LT(rounding_error<F>(64, 256), 0.13);
}

}  // namespace
}  // namespace quire::testing
