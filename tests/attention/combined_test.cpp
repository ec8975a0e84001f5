#include <gtest/gtest.h>

#include <quire/attention/alibi.hpp>
#include <quire/attention/combined.hpp>
#include <quire/attention/sinks.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/attention/soft_cap.hpp>
#include <quire/kv_format/fp32.hpp>
#include <tests/attention/harness.hpp>

namespace quire::attention::testing {
namespace {

TEST(Combined, TakesTheNarrowestViewAndKeepsOrder) {
  const float slopes[] = {1};
  const Combined<SlidingWindow, SlidingWindow, SoftCap, Alibi> v(SlidingWindow(8), SlidingWindow(5),
                                                                 SoftCap(1), Alibi(slopes));
  EXPECT_EQ(v.first_visible(10), 6);
  EXPECT_NEAR(v.logit(DoubleMath{}, 100.0, 0, 3.0), 1 - 3, 1e-9);
}

TEST(Combined, KernelEqualsReference) {
  const Dense d(150, 4, 2, 32, 11);
  const auto slopes = Alibi::slopes_for(4);
  const float sinks[] = {0.5f, -1, 3, 8};
  const Combined<SlidingWindow, SoftCap, Alibi, Sinks> variant(SlidingWindow(33), SoftCap(3),
                                                               Alibi(slopes), Sinks(sinks));
  const auto out = run_paged<kv_format::Fp32>(d, variant, 150, 64, 16, 2, 0.5f);
  EXPECT_LT(largest_error(out, run_reference(d, variant, 150, 0.5)), 5e-6);
  const auto plain = run_paged<kv_format::Fp32>(d, Causal{}, 150, 64, 16, 2, 0.5f);
  EXPECT_NE(out, plain);
}

}  // namespace
}  // namespace quire::attention::testing
