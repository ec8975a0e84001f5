#include <quire/weight_format/int4_grouped.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Int4GroupedWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Int4Grouped<64>;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.25);
  EXPECT_LT(rounding_error<F>(64, 256), 0.115);
}

}  // namespace
}  // namespace quire::testing
