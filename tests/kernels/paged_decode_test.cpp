#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

TEST(PagedDecode, Fp32) {
  check_decode_grid<kv::Fp32, 16, 64, float, Causal>();
  check_decode_grid<kv::Fp32, 1, 80, float, SlidingWindow>();
  check_decode_grid<kv::Fp32, 3, 256, float, Alibi>();
  check_decode_grid<kv::Fp32, 256, 96, float, Sinks>();
}

TEST(MergeStates, PartsThatSawNothingCountForNothing) { check_merge(); }

TEST(PagedDecode, HeadsThatDoNotDivideAreRefused) {
  PagedDecodeParams<float, Causal> p;
  p.heads = 7;
  p.cache.kv_heads = 2;
  EXPECT_THROW((paged_decode<KernelKey<kv::Fp32, 16, 64, float>, Causal>(p, 1, nullptr, 0)), Error);
}

}  // namespace
}  // namespace quire::kernels::testing
