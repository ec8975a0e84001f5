#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>
#include <tests/kernels/prefill_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

/// By the kernel that every device has.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant,
          PrefillTuning tuning = PrefillTuning{.warps = 2, .tokens = 32}>
void check_prefill(std::size_t kv_heads, std::size_t group, const std::vector<Chunk>& chunks,
                   std::uint64_t seed, float loud = 1) {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  check_prefill_by<PagedPrefill<Key, Variant, tuning>, Variant>(kv_heads, group, chunks, seed,
                                                                loud);
}

TEST(PagedPrefill, Bf16AndFp16) {
  check_prefill<kv::Bf16, 16, 128, Bf16, Causal>(1, 4, {{0, 33}, {31, 1}, {15, 9}}, 1);
  check_prefill<kv::Bf16, 16, 128, Bf16, Causal>(2, 1, {{0, 5}, {64, 3}}, 2);
  check_prefill<kv::Fp16, 8, 80, Fp16, Alibi>(1, 3, {{0, 17}, {40, 12}}, 3);
  check_prefill<kv::Fp16, 1, 64, Fp16, Sinks>(1, 2, {{0, 16}, {20, 13}}, 4);
}
TEST(PagedPrefill, WindowsAndInt8) {
  check_prefill<kv::Int8PerTokenHead, 4, 64, Bf16, SlidingWindow>(1, 7, {{0, 18}, {50, 9}}, 5);
  check_prefill<kv::Int8PerTokenHead, 64, 96, Bf16, SoftCap>(1, 5, {{0, 8}, {63, 7}}, 6);
  check_prefill<kv::Bf16, 32, 64, Bf16, Causal, PrefillTuning{}>(1, 8, {{30, 20}}, 7);
  // 8-bit elements in several parts of a tile, and queries of another type than the keys
  check_prefill<kv::Int8PerTokenHead, 16, 64, Bf16, Causal, PrefillTuning{.warps = 1}>(
      1, 4, {{70, 9}}, 8);
  check_prefill<kv::Fp16, 16, 64, Bf16, Causal>(1, 2, {{20, 9}}, 9);
  check_prefill<kv::Fp16, 16, 64, Bf16, Causal>(1, 4, {{0, 12}, {30, 9}}, 10, 300);
}
// Rows that are aligned to four bytes: 8-bit floats with a scale behind each, packed codes.
TEST(PagedPrefill, RowsWithTheirScales) {
  check_prefill<kv::Int4PerTokenHead, 16, 64, Fp16, Causal>(2, 2, {{0, 20}, {33, 7}}, 11);
  check_prefill<kv::Int4PerTokenHead, 4, 96, Bf16, SlidingWindow>(1, 3, {{0, 9}, {50, 9}}, 12);
  check_prefill<kv::Fp8PerTokenHead, 16, 64, Bf16, Causal>(1, 4, {{0, 12}, {30, 9}}, 13);
  check_prefill<OnDevice<kv::Int4Grouped<32>>, 16, 64, Fp16, Causal>(2, 2, {{0, 20}, {33, 7}}, 14);
  check_prefill<OnDevice<kv::Mxfp4>, 4, 64, Bf16, SlidingWindow>(1, 3, {{0, 9}, {50, 9}}, 15);
  check_prefill<OnDevice<kv::Nvfp4>, 16, 96, Fp16, Causal>(1, 4, {{0, 12}, {30, 9}}, 16);
}

}  // namespace
}  // namespace quire::kernels::testing
