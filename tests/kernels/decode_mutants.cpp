// Each path of decode attention and each branch of it in a few shapes: what the mutation check compiles
// again and again. (Not part of the test program: the other files cover more of the same.)
#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;
using Int8 = kv::Int8PerTokenHead;
constexpr DecodeTuning two{.warps = 2}, wide{.warps = 2, .byte_tiles = 2};

TEST(DecodeMutants, Merge) { check_merge(); }
// Rows that a lane reads twice, some of it; rows that two share, some lanes with nothing.
TEST(DecodeMutants, CudaCores) {
  check_decode<kv::Fp32, 4, 144, float, AlibiAndSinks, two>(2, 5, {4, 5, 3, 1, 0, 8}, 1, 2);
  check_decode<kv::Fp32, 4, 40, float, Sinks, two>(1, 1, {70, 33, 64}, 1000, 3);
  check_decode<kv::Fp32, 4, 40, float, Sinks, two>(2, 3, {40, 9}, 1, 4);
}
// Blocks smaller than a tile, then tiles within a block; several chunks of a row; two tiles at once.
TEST(DecodeMutants, MatrixUnits) {
  check_decode<Int8, 4, 64, Bf16, AlibiAndSinks, two>(1, 3, {16, 17, 15, 1, 0}, 1, 4);
  check_decode<Int8, 4, 64, Bf16, AlibiAndSinks, two>(2, 8, {16, 17, 4, 70}, 1000, 5);
  check_decode<Int8, 4, 64, Bf16, AlibiAndSinks, two>(1, 11, {19}, 1, 7);
  check_decode<Int8, 4, 64, Bf16, AlibiAndSinks, two>(1, 2, {16, 17, 5, 40}, 1000, 6, 0x1p40f);
  check_decode<Int8, 16, 80, Fp16, Causal, two>(2, 8, {16, 17, 31, 96, 0}, 1, 8);
  check_decode<Int8, 32, 128, Bf16, AlibiAndSinks, wide>(1, 5, {32, 33, 100, 221}, 1, 9);
  check_decode<Int8, 32, 128, Bf16, AlibiAndSinks, wide>(2, 2, {130, 64, 7}, 1000, 10, 0x1p40f);
  check_decode<kv::Bf16, 8, 80, Bf16, Alibi, two>(1, 9, {40, 33, 5}, 1, 11);
}

}  // namespace
}  // namespace quire::kernels::testing
