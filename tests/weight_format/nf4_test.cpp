#include <quire/weight_format/nf4.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Nf4WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Nf4;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.5);
  EXPECT_LT(rounding_error<F>(64, 256), 0.1);
}

}  // namespace
}  // namespace quire::testing
