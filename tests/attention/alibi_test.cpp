#include <gtest/gtest.h>

#include <quire/attention/alibi.hpp>
#include <quire/kv_format/fp32.hpp>
#include <tests/attention/harness.hpp>

namespace quire::attention::testing {
namespace {

TEST(Alibi, SlopesOfThePaper) {
  EXPECT_EQ(Alibi::slopes_for(8), (std::vector<float>{0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f,
                                                      0.015625f, 0.0078125f, 0.00390625f}));
  const auto twelve = Alibi::slopes_for(12);
  ASSERT_EQ(twelve.size(), 12u);
  EXPECT_FLOAT_EQ(twelve[8], 0.70710678f);  // 2^(-8/16)
  EXPECT_FLOAT_EQ(twelve[9], 0.35355339f);  // 2^(-24/16)
}

TEST(Alibi, KernelEqualsReference) {
  const Dense d(150, 4, 2, 32, 11);
  const auto slopes = Alibi::slopes_for(4);
  const Alibi variant(slopes);
  const auto out = run_paged<kv_format::Fp32>(d, variant, 150, 64, 16, 2, 0.5f);
  EXPECT_LT(largest_error(out, run_reference(d, variant, 150, 0.5)), 5e-6);
  const auto plain = run_paged<kv_format::Fp32>(d, Causal{}, 150, 64, 16, 2, 0.5f);
  EXPECT_NE(out, plain);
}

}  // namespace
}  // namespace quire::attention::testing
