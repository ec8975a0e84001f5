#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/paged_prefill/params.hpp>
#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {

struct Chunk {
  std::int32_t position, rows;
};

/// Runs chunks of several sequences at once and compares every query vector with the oracle.
/// loud: logits are that much larger, so that weights hold against the largest alone.
template <class Kernel, class Variant>
void check_prefill_by(std::size_t kv_heads, std::size_t group, const std::vector<Chunk>& chunks,
                      std::uint64_t seed, float loud = 1) {
  using Key = typename Kernel::Key;
  using Format = typename Key::KvFormat;
  using Query = typename Key::Query;
  constexpr unsigned block_tokens = Key::block_tokens, head_dim = Key::head_dim;
  constexpr bool by_warpgroups = requires { Kernel::consumers; };
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
  const std::size_t q_stride = heads * head_dim + 8,
                    out_stride = heads * head_dim + (by_warpgroups ? 8 : 2);
  const auto q = random_array<Query>((rows - 1) * q_stride + heads * head_dim, pool.rng);
  auto out = poisoned<Query>(rows * out_stride);
  const auto work = plan_prefill(std::span<const PrefillSequence>(sequences),
                                 static_cast<std::uint32_t>(group), Kernel::tile);
  typename Kernel::Params p;
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
  if constexpr (by_warpgroups) {
    p.cache_map = Kernel::map_of(pool.view, pool.memory.size() / pool.view.block_bytes);
  }
  std::vector<Query> before;  // what the other order of copies, and other blocks, gave
  for (const auto copies : {simt::emulator::Copies::early, simt::emulator::Copies::late}) {
    before = std::exchange(out, poisoned<Query>(rows * out_stride));
    p.out = out.data();
    const simt::emulator::ScopedSchedule schedule(
        {.order = simt::emulator::schedule().order, .copies = copies, .seed = seed});
    const auto works = static_cast<unsigned>(work.size());
    if constexpr (by_warpgroups) {  // few blocks, so that each has several pieces of work
      p.works = works;
      const unsigned items = works * p.cache.kv_heads;
      const bool early = copies == simt::emulator::Copies::early;
      const unsigned blocks = early ? 1 + static_cast<unsigned>(seed) % items : (items + 1) / 2;
      simt::launch<Kernel>(Kernel::shape(works, p.cache.kv_heads, blocks), p);
    } else {
      simt::launch<Kernel>({{works, p.cache.kv_heads}, Kernel::shared_bytes}, p);
    }
  }
  EXPECT_EQ(std::memcmp(out.data(), before.data(), out.size() * sizeof(Query)), 0)
      << "another order of copies, or other blocks, give other results";
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

}  // namespace quire::kernels::testing
