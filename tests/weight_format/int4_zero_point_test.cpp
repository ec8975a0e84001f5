#include <quire/weight_format/int4_zero_point.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Int4ZeroPointWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Int4ZeroPoint<64>;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.375);
  EXPECT_LT(rounding_error<F>(64, 256), 0.1);
}

}  // namespace
}  // namespace quire::testing
