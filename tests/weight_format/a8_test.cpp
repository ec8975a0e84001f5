#include <quire/weight_format/a8.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/int8_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <quire/weight_format/q8_0.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

using namespace quire::weight_format;

/// The weights are the format's own, and so are the blocks of a checkpoint that it takes as they are; what
/// the product makes of the inputs is in words_test.cpp.
TEST(A8WeightFormat, HoldsTheWeightsOfItsFormat) {
  EXPECT_EQ(A8<Q80>::name, "q8_0_a8");
  EXPECT_EQ((LinearOnly<A8<Int8Grouped<128>>>::name), "int8_g128_a8_head_bf16");
  EXPECT_EQ(8 * A8<Q80>::weight_bytes(256), 8.5);
  EXPECT_EQ(rounding_error<A8<Q40>>(64, 256), rounding_error<Q40>(64, 256));
  EXPECT_EQ(codec_of<A8<Q40>>().pack, codec_of<Q40>().pack);
  EXPECT_NE(codec_of<A8<Q40>>().pack_row, codec_of<Q40>().pack_row);
}

/// A third of the bytes: one for an input in place of three.
TEST(A8WeightFormat, RowsOfInputsAreSmaller) {
  EXPECT_LT(2 * A8<Q40>::row_bytes(2048), Q40::row_bytes(2048));
}

}  // namespace
}  // namespace quire::testing
