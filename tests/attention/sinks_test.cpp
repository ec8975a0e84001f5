#include <gtest/gtest.h>

#include <quire/attention/sinks.hpp>
#include <quire/kv_format/fp32.hpp>
#include <tests/attention/harness.hpp>

namespace quire::attention::testing {
namespace {

TEST(Sinks, ALargeSinkTakesAllAttention) {
  const Dense d(40, 1, 1, 16, 2);
  const float logits[] = {1000};
  for (float x : run_paged<kv_format::Fp32>(d, Sinks(logits), 40, 40, 16, 1)) EXPECT_EQ(x, 0.0f);
}

TEST(Sinks, KernelEqualsReference) {
  const Dense d(150, 4, 2, 32, 11);
  const float logits[] = {0.5f, -1, 3, 8};
  const Sinks variant(logits);
  const auto out = run_paged<kv_format::Fp32>(d, variant, 150, 64, 16, 2, 0.5f);
  EXPECT_LT(largest_error(out, run_reference(d, variant, 150, 0.5)), 5e-6);
  const auto plain = run_paged<kv_format::Fp32>(d, Causal{}, 150, 64, 16, 2, 0.5f);
  EXPECT_NE(out, plain);
}

}  // namespace
}  // namespace quire::attention::testing
