#include <quire/kernels/int4_access.hpp>
#include <tests/kernels/decode_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
using Int4 = kv_format::Int4PerTokenHead;

TEST(PagedDecode, Int4PerTokenHead) {
  check_decode_grid<Int4, 16, 128, Bf16, Causal>();
  check_decode<Int4, 16, 128, Bf16, Causal>(1, 3, {40, 9}, 1000, 8, 0x1p40f);
  check_decode_grid<Int4, 3, 64, Fp16, AlibiAndSinks>();
  constexpr DecodeTuning two{.warps = 2, .byte_tiles = 2, .bytes_ahead = false};
  check_decode<Int4, 16, 64, Bf16, Sinks, two>(2, 11, {70, 33, 1, 0, 32}, 1, 3);
  check_decode<Int4, 16, 64, Bf16, Sinks, two>(1, 3, {300, 40}, 1000, 4);
  check_decode<Int4, 1, 256, Bf16, SlidingWindow>(1, 9, {40, 12, 14}, 1000, 5);
}

/// Rows of one value have the scale 0, and nothing but their least value.
TEST(PagedDecode, Int4RowsOfOneValue) {
  DecodeCase<Int4, 8, 64, Bf16, Causal> c(1, 2, {21}, 6);
  c.make(0);
  for (std::size_t t = 0; t < 21; t += 2) {
    const std::vector<float> row(64, t % 4 == 0 ? 0.0f : 0.75f);
    for (const bool values : {false, true}) {
      Int4::store(c.pool.slab_of(0, t, 0, values), 8, 64, t % 8, row.data());
    }
  }
  const DecodeWork work{0, 0, 21, -1, 1};
  c.p.work = &work;
  paged_decode<decltype(c)::Key, Causal>(c.p, 1, nullptr, 0);
  c.expect("rows of one value");
}

}  // namespace
}  // namespace quire::kernels::testing
