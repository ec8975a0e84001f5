#include <quire/kernels/grouped_access.hpp>
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

// Scales of groups: of 32 and of half a head, of a whole head, and those of FP4.
TEST(PagedDecode, GroupsOfFourBits) {
  namespace kv = kv_format;
  using Mxfp4 = OnDevice<kv::Mxfp4>;
  using Nvfp4 = OnDevice<kv::Nvfp4>;
  check_decode_grid<Nvfp4, 16, 128, Bf16, Causal>();
  check_decode<OnDevice<kv::Int4Grouped<32>>, 16, 128, Bf16, Causal>(1, 3, {40, 9}, 1000, 8,
                                                                     0x1p40f);
  check_decode<OnDevice<kv::Int4Grouped<64>>, 3, 64, Fp16, AlibiAndSinks>(2, 9, {33, 17, 1, 0}, 1,
                                                                          2);
  check_decode<OnDevice<kv::Int4Grouped<64>>, 8, 128, Bf16, Sinks>(1, 8, {150, 31}, 1000, 3);
  constexpr DecodeTuning two{.warps = 2, .byte_tiles = 2};
  check_decode<Mxfp4, 16, 64, Bf16, Sinks, two>(2, 11, {70, 33, 1, 0, 32}, 1, 3);
  check_decode<Mxfp4, 1, 256, Fp16, SlidingWindow>(1, 9, {40, 12, 14}, 1000, 5);
  check_decode<Mxfp4, 4, 192, Bf16, Causal>(1, 4, {70, 20}, 1000, 6, 0x1p20f);
  check_decode<Nvfp4, 5, 64, Fp16, Causal, two>(1, 2, {65, 3}, 1000, 7);
}

/// What lies on a device is what the format's own rows hold, each token by itself.
template <class Format>
void check_on_device(std::size_t dim) {
  constexpr std::size_t tokens = 3;
  Rng rng(5);
  std::vector<std::byte> slab(Format::slab_bytes(tokens, dim), std::byte{0xff}), row(256);
  ASSERT_GE(slab.size(), OnDevice<Format>::Access::ends_at(tokens, dim, tokens));
  std::vector<std::vector<float>> expected(tokens, std::vector<float>(dim));
  std::vector<float> values(dim);
  OnDevice<Format>::load(slab.data(), tokens, dim, 1, values.data());
  for (const float x : values) EXPECT_TRUE(std::isnan(x));
  for (std::size_t t = 0; t < tokens; ++t) {
    for (float& x : values) x = static_cast<float>(rng.normal());
    OnDevice<Format>::store(slab.data(), tokens, dim, t, values.data());
    Format::encode(values.data(), dim, row.data());
    Format::decode(row.data(), dim, expected[t].data());
  }
  for (std::size_t t = 0; t < tokens; ++t) {
    OnDevice<Format>::load(slab.data(), tokens, dim, t, values.data());
    EXPECT_EQ(values, expected[t]);
  }
}
TEST(PagedDecode, SlabsOnDevicesHoldTheFormatsRows) {
  check_on_device<kv_format::Int4Grouped<32>>(64);
  check_on_device<kv_format::Mxfp4>(192);
  check_on_device<kv_format::Nvfp4>(128);
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
