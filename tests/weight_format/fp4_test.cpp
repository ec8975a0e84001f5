#include <vector>

#include <quire/weight_format/fp4.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Fp4WeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Fp4;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.5);
  EXPECT_LT(rounding_error<F>(64, 256), 0.125);
}

TEST(Fp4WeightFormat, BlocksAreThoseOfBitsandbytes) {
  Rng rng(3);
  std::vector<float> values(64), back(64);
  for (float& x : values) x = static_cast<float>(rng.normal());
  std::byte block[weight_format::Fp4Block::bytes];
  weight_format::Fp4Block::encode(values.data(), block);
  weight_format::Fp4Block::decode(block, back.data());
  namespace bnb = weight_format::bitsandbytes;
  EXPECT_EQ(back, bnb::dequantise(bnb::quantise(values, bnb::Kind::fp4), 64));
}

}  // namespace
}  // namespace quire::testing
