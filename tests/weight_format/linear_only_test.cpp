#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(LinearOnlyWeightFormat, LayersAndHeadHaveTheirOwnFormat) {
  using namespace weight_format;
  using F = LinearOnly<Int4Grouped<64>>;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.25);
  EXPECT_EQ(F::name, "int4_g64_head_bf16");
  const WeightCodec& codec = codec_of<F>();
  EXPECT_EQ(codec.code_bits, 4u);
  EXPECT_EQ(codec.of_head().name, "bf16");
  EXPECT_EQ(codec_of<Int4Grouped<64>>().of_head().name, "int4_g64");
  EXPECT_LT(rounding_error<F>(64, 256), 0.115);
}

}  // namespace
}  // namespace quire::testing
