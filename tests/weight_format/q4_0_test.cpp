#include <quire/weight_format/q4_0.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Q40WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Q40;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.5);
  EXPECT_LT(rounding_error<F>(64, 256), 0.095);
}

}  // namespace
}  // namespace quire::testing
