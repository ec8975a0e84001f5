#include <quire/weight_format/int8_grouped.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Int8GroupedWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Int8Grouped<64>;
  EXPECT_EQ(8 * F::weight_bytes(256), 8.25);
  EXPECT_LT(rounding_error<F>(64, 256), 0.0065);
}

}  // namespace
}  // namespace quire::testing
