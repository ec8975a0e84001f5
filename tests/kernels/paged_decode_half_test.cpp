#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

TEST(PagedDecode, Bf16) {
  check_decode_grid<kv::Bf16, 16, 128, Bf16, Causal>();
  check_decode_grid<kv::Bf16, 1, 64, Bf16, SoftCap>();
  check_decode_grid<kv::Bf16, 32, 256, Bf16, SlidingWindow>();
  check_decode_grid<kv::Bf16, 8, 80, Bf16, Alibi>();
}
TEST(PagedDecode, Fp16) {
  check_decode_grid<kv::Fp16, 2, 96, Fp16, Sinks>();
  check_decode_grid<kv::Fp16, 128, 128, Fp16, Causal>();
  check_decode_grid<kv::Fp16, 16, 64, float, Causal>();
}

}  // namespace
}  // namespace quire::kernels::testing
