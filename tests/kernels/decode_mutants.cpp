// A few shapes of each path of decode attention: what the mutation check compiles again and again.
// (Not part of the test program: the other files cover these shapes too.)
#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

TEST(DecodeMutants, EachPath) {
  using Int8 = kv::Int8PerTokenHead;
  check_merge();
  constexpr DecodeTuning two{.warps = 2};
  check_decode<kv::Fp32, 4, 80, float, Sinks, two>(2, 5, {4, 5, 3, 1, 0, 8}, 1, 2);
  check_decode<kv::Fp32, 4, 80, float, Sinks, two>(1, 1, {70, 33}, 1000, 3);
  check_decode<Int8, 4, 64, Bf16, Alibi, two>(1, 3, {16, 17, 15, 1, 0}, 1, 4);
  check_decode<Int8, 4, 64, Bf16, Alibi, two>(2, 8, {16, 17, 4, 70}, 1000, 5);
  check_decode<Int8, 4, 64, Bf16, Alibi, two>(1, 11, {19}, 1, 7);
  check_decode<Int8, 4, 64, Bf16, Alibi, two>(1, 2, {16, 17, 5, 40}, 1000, 6);
}

}  // namespace
}  // namespace quire::kernels::testing
