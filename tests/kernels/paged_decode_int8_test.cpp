#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

TEST(PagedDecode, Int8PerTokenHead) {
  check_decode_grid<kv::Int8PerTokenHead, 16, 128, Bf16, Causal>();
  check_decode_grid<kv::Int8PerTokenHead, 4, 64, Fp16, SlidingWindow>();
  check_decode_grid<kv::Int8PerTokenHead, 64, 80, Bf16, Alibi>();
  check_decode_grid<kv::Int8PerTokenHead, 256, 256, Bf16, SoftCap>();
  check_decode_grid<kv::Int8PerTokenHead, 16, 96, float, Sinks>();
}
TEST(PagedDecode, Fp8) {
  check_decode<kv::Fp8E4m3, 16, 64, Bf16, Causal>(1, 4, {33, 5}, 1000, 1);
  check_decode<kv::Fp8E4m3, 16, 64, Bf16, Causal>(2, 2, {17, 40}, 1000, 2);
  check_decode<kv::Fp8E5m2, 8, 80, Fp16, Sinks>(1, 3, {9, 31}, 1, 3);
  check_decode<kv::Fp8PerTokenHead, 4, 64, Bf16, SlidingWindow>(1, 4, {33, 12}, 1000, 4);
  check_decode<kv::Fp8PerTokenHead, 4, 64, Bf16, SlidingWindow>(1, 1, {33, 12}, 1000, 5);
}
TEST(PagedDecode, GroupsBeyondOnePassAndOtherTunings) {
  check_decode<kv::Int8PerTokenHead, 16, 64, Bf16, Causal>(1, 12, {33, 16}, 1000, 5);
  check_decode<kv::Int8PerTokenHead, 16, 64, Bf16, Causal, DecodeTuning{.warps = 8}>(1, 7, {300, 5},
                                                                                     4, 6);
  constexpr DecodeTuning wide{.byte_tiles = 2, .bytes_ahead = false};
  check_decode<kv::Int8PerTokenHead, 16, 64, Bf16, Causal, wide>(1, 3, {100, 33, 7}, 4, 8);
  constexpr DecodeTuning scalar{.warps = 2, .unroll = 1, .heads = 8, .matrix_from = 100};
  check_decode<kv::Int8PerTokenHead, 16, 64, Bf16, Causal, scalar>(1, 12, {40, 1}, 8, 7);
}

}  // namespace
}  // namespace quire::kernels::testing
