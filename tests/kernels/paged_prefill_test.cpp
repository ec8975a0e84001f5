#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>
#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {
namespace {

using namespace attention;
namespace kv = kv_format;

struct Chunk {
  std::int32_t position, rows;
};

/// Runs chunks of several sequences at once and compares every query vector with the oracle.
/// loud: logits are that much larger, so that weights hold against the largest alone.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant,
          PrefillTuning tuning = PrefillTuning{.warps = 2, .tokens = 32}>
void check_prefill(std::size_t kv_heads, std::size_t group, const std::vector<Chunk>& chunks,
                   std::uint64_t seed, float loud = 1) {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  using Kernel = PagedPrefill<Key, Variant, tuning>;
  const MadeVariant<Variant> made(kv_heads * group);
  std::vector<std::int32_t> lengths;
  for (const Chunk& c : chunks) lengths.push_back(c.position + c.rows);
  PagedPool<Format, block_tokens, head_dim> pool(kv_heads, lengths, seed);
  std::vector<PrefillSequence> sequences;
  std::uint32_t rows = 1;  // row 0 belongs to nobody
  for (std::size_t s = 0; s < chunks.size(); ++s) {
    pool.fill(s, static_cast<std::size_t>(made.variant.first_visible(chunks[s].position)),
              static_cast<std::size_t>(lengths[s]));
    sequences.push_back({rows, static_cast<std::uint32_t>(chunks[s].rows), chunks[s].position,
                         pool.table_begin[s]});
    rows += static_cast<std::uint32_t>(chunks[s].rows);
  }
  const std::size_t heads = kv_heads * group;
  const std::size_t q_stride = heads * head_dim + 8, out_stride = heads * head_dim + 2;
  const auto q = random_array<Query>((rows - 1) * q_stride + heads * head_dim, pool.rng);
  auto out = poisoned<Query>(rows * out_stride);
  const auto work = plan_prefill(std::span<const PrefillSequence>(sequences),
                                 static_cast<std::uint32_t>(group), Kernel::tile);
  PagedPrefillParams<Query, Variant> p;
  p.q = q.data();
  p.q_stride = q_stride;
  p.out = out.data();
  p.out_stride = out_stride;
  p.cache = pool.view;
  p.blocks = pool.tables.data();
  p.sequences = sequences.data();
  p.work = work.data();
  p.heads = static_cast<std::uint32_t>(heads);
  p.scale = loud / std::sqrt(static_cast<float>(head_dim));
  p.variant = made.variant;
  for (const auto copies : {simt::emulator::Copies::early, simt::emulator::Copies::late}) {
    const simt::emulator::ScopedSchedule schedule({.copies = copies, .seed = seed});
    simt::launch<Kernel>(
        {{static_cast<unsigned>(work.size()), p.cache.kv_heads}, Kernel::shared_bytes}, p);
  }
  for (std::size_t s = 0; s < chunks.size(); ++s) {
    for (std::size_t i = 0; i < sequences[s].rows; ++i) {
      const std::size_t row = sequences[s].row + i;
      const std::int64_t position = chunks[s].position + static_cast<std::int64_t>(i);
      for (std::size_t h = 0; h < heads; ++h) {
        std::vector<float> query(head_dim);
        for (std::size_t d = 0; d < head_dim; ++d) {
          query[d] = to_float(q[row * q_stride + h * head_dim + d]);
        }
        const auto expected = attention_reference<Format>(
            pool.view, block_tokens, head_dim, pool.table(s), h / group, made.variant, h, position,
            static_cast<double>(p.scale), query.data());
        for (std::size_t d = 0; d < head_dim; ++d) {
          const double got = to_float(out[row * out_stride + h * head_dim + d]);
          ASSERT_LE(std::abs(got - expected[d]), tolerance<Query>(expected[d]))
              << Format::name << ", " << Variant::name << ", block " << block_tokens << ", group "
              << group << ", position " << position << ", head " << h;
        }
      }
      ASSERT_TRUE(std::isnan(to_float(out[row * out_stride + heads * head_dim])));
    }
  }
  ASSERT_TRUE(std::isnan(to_float(out[0])));
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
