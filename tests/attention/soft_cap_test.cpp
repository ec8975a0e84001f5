#include <gtest/gtest.h>

#include <quire/attention/soft_cap.hpp>
#include <quire/kv_format/fp32.hpp>
#include <tests/attention/harness.hpp>

namespace quire::attention::testing {
namespace {

TEST(SoftCap, IsBoundedAndFlatAtZero) {
  const SoftCap cap(30);
  EXPECT_NEAR(cap.logit(DoubleMath{}, 0.3, 0, 0.0), 0.3, 1e-4);
  EXPECT_NEAR(cap.logit(DoubleMath{}, 1e6, 0, 0.0), 30, 1e-9);
  EXPECT_NEAR(cap.logit(DoubleMath{}, -1e6, 0, 0.0), -30, 1e-9);
}

TEST(SoftCap, KernelEqualsReference) {
  const Dense d(150, 4, 2, 32, 11);
  const SoftCap variant(2);
  const auto out = run_paged<kv_format::Fp32>(d, variant, 150, 64, 16, 2, 0.5f);
  EXPECT_LT(largest_error(out, run_reference(d, variant, 150, 0.5)), 5e-6);
  const auto plain = run_paged<kv_format::Fp32>(d, Causal{}, 150, 64, 16, 2, 0.5f);
  EXPECT_NE(out, plain);
}

}  // namespace
}  // namespace quire::attention::testing
