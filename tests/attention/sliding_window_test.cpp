#include <gtest/gtest.h>

#include <quire/attention/sliding_window.hpp>
#include <quire/kv_format/fp32.hpp>
#include <tests/attention/harness.hpp>

namespace quire::attention::testing {
namespace {

TEST(SlidingWindow, CountsTheQueryItself) {
  EXPECT_EQ(SlidingWindow(4).first_visible(2), 0);
  EXPECT_EQ(SlidingWindow(4).first_visible(3), 0);
  EXPECT_EQ(SlidingWindow(4).first_visible(4), 1);
  EXPECT_EQ(SlidingWindow(1).first_visible(9), 9);
  EXPECT_EQ(SlidingWindow().first_visible(1 << 30), 0);
}

TEST(SlidingWindow, KernelEqualsReference) {
  const Dense d(150, 4, 2, 32, 11);
  const SlidingWindow variant(20);
  const auto out = run_paged<kv_format::Fp32>(d, variant, 150, 64, 16, 2, 0.5f);
  EXPECT_LT(largest_error(out, run_reference(d, variant, 150, 0.5)), 5e-6);
  const auto plain = run_paged<kv_format::Fp32>(d, Causal{}, 150, 64, 16, 2, 0.5f);
  EXPECT_NE(out, plain);
}

}  // namespace
}  // namespace quire::attention::testing
