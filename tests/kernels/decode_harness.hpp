#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <quire/kernels/paged_decode/launch.cuh>
#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {

/// A decode step of random queries, with its results compared with the oracle.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant>
struct DecodeCase {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  std::size_t group, heads, sequences, q_stride, out_stride;
  MadeVariant<Variant> made;
  PagedPool<Format, block_tokens, head_dim> pool;
  std::vector<Query> q, out;
  std::vector<float> partial, lse;
  PagedDecodeParams<Query, Variant> p;

  DecodeCase(std::size_t kv_heads, std::size_t heads_a_group,
             const std::vector<std::int32_t>& lengths, std::uint64_t seed)
      : group(heads_a_group),
        heads(kv_heads * group),
        sequences(lengths.size()),
        q_stride(heads * head_dim + 8),
        out_stride(heads * head_dim + 3),
        made(heads),
        pool(kv_heads, lengths, seed) {}
  /// Fills what is left: after the tables are as they shall be. `peak`: one dimension of each query
  /// and head is that much larger than the others, and the scale smaller, so that a few
  /// tokens have all the weight.
  void make(std::size_t partials, float peak = 1) {
    pool.fill_visible(made.variant);
    q = random_array<Query>((sequences - 1) * q_stride + heads * head_dim, pool.rng);
    for (std::size_t i = 0; peak > 1 && i < sequences * heads; ++i) {
      Query& x = q[i / heads * q_stride + i % heads * head_dim + pool.rng.below(head_dim)];
      x = from_float<Query>(peak * to_float(x));
    }
    out = poisoned<Query>(sequences * out_stride);
    partial = poisoned<float>(partials * heads * head_dim);
    lse = poisoned<float>(partials * heads);
    p.q = q.data();
    p.q_stride = q_stride;
    p.out = out.data();
    p.out_stride = out_stride;
    p.cache = pool.view;
    p.blocks = pool.tables.data();
    p.table_begin = pool.table_begin.data();
    p.lengths = pool.lengths.data();
    p.partial = partial.data();
    p.partial_lse = lse.data();
    p.heads = static_cast<std::uint32_t>(heads);
    p.scale = (peak > 1 ? 100.0f / peak : 1.0f / std::sqrt(static_cast<float>(head_dim)));
    p.variant = made.variant;
  }
  void expect(const std::string& what) const {
    for (std::size_t s = 0; s < sequences; ++s) {
      const std::int32_t length = pool.lengths[s];
      for (std::size_t h = 0; h < heads; ++h) {
        std::vector<float> row(head_dim);
        for (std::size_t i = 0; i < head_dim; ++i) {
          row[i] = to_float(q[s * q_stride + h * head_dim + i]);
        }
        std::vector<double> expected(head_dim, 0.0);
        if (length > 0) {
          expected = attention_reference<Format>(pool.view, block_tokens, head_dim, pool.table(s),
                                                 h / group, made.variant, h, length - 1,
                                                 static_cast<double>(p.scale), row.data());
        }
        double worst = 0;
        for (std::size_t i = 0; i < head_dim; ++i) {
          const double got = to_float(out[s * out_stride + h * head_dim + i]);
          const double error = std::abs(got - expected[i]) / tolerance<Query>(expected[i]);
          worst = std::isnan(got) ? INFINITY : std::max(worst, error);
          if (std::isnan(got)) break;
        }
        ASSERT_LE(worst, 1) << Format::name << ", " << Variant::name << ", block " << block_tokens
                            << ", head_dim " << head_dim << ", group " << group << ", " << length
                            << " tokens, head " << h << ", " << what;
      }
      for (std::size_t i = heads * head_dim; i < out_stride; ++i) {
        ASSERT_TRUE(std::isnan(to_float(out[s * out_stride + i]))) << "wrote beyond a row";
      }
    }
  }
};

/// Runs a batch of sequences and compares every head with the oracle.
/// `slots`: how many blocks of threads the planner believes in; more of them, more splits.
/// `peak`: as DecodeCase::make.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant,
          DecodeTuning tuning = DecodeTuning{}>
void check_decode(std::size_t kv_heads, std::size_t group, const std::vector<std::int32_t>& lengths,
                  std::uint32_t slots, std::uint64_t seed, float peak = 1) {
  DecodeCase<Format, block_tokens, head_dim, Query, Variant> c(kv_heads, group, lengths, seed);
  using Key = typename decltype(c)::Key;
  const DecodePlan plan =
      plan_decode(std::span<const std::int32_t>(lengths), c.made.variant,
                  {.blocks = slots,
                   .blocks_per_work = static_cast<std::uint32_t>(kv_heads) *
                                      decode_passes<Key, tuning>(static_cast<std::uint32_t>(group)),
                   .least_tokens = 16});
  c.make(plan.partials, peak);
  c.p.work = plan.work.data();
  const simt::emulator::ScopedSchedule schedule({.seed = seed});
  paged_decode<Key, Variant, tuning>(c.p, static_cast<std::uint32_t>(plan.work.size()),
                                     plan.merges.data(),
                                     static_cast<std::uint32_t>(plan.merges.size()));
  c.expect("slots " + std::to_string(slots) + ", seed " + std::to_string(seed));
}

/// Partials against a merge in double, of whom one's log-sum-exp is asked; one that saw nothing counts for
/// nothing.
inline void check_merge() {
  Rng rng(12);
  constexpr std::size_t heads = 3, dim = 40;
  auto partial = random_array<float>(6 * heads * dim, rng);
  auto lse = random_array<float>(6 * heads, rng);
  for (std::size_t i = 0; i < 6; ++i) lse[i * heads] *= 200;  // weights that only a maximum holds
  for (std::size_t h = 0; h < heads; ++h) {
    for (const std::size_t i : {1u, 4u, 5u}) {  // of sequence 0 one part, of sequence 1 all
      lse[i * heads + h] = -INFINITY;
      for (std::size_t d = 0; d < dim; ++d) partial[(i * heads + h) * dim + d] = 0;
    }
  }
  const std::vector<MergeWork> work = {{0, 0, 4}, {1, 4, 2}};
  auto out = poisoned<float>(2 * heads * dim), quiet = out;
  auto merged = poisoned<float>(2 * heads);
  using Kernel = MergeStates<float, dim>;
  simt::launch<Kernel>({{2, heads}, Kernel::shared_bytes},
                       {partial.data(), lse.data(), work.data(), quiet.data(), heads * dim, heads});
  simt::launch<Kernel>(
      {{2, heads}, Kernel::shared_bytes},
      {partial.data(), lse.data(), work.data(), out.data(), heads * dim, heads, merged.data()});
  ASSERT_EQ(out, quiet);
  for (std::size_t h = 0; h < heads; ++h) {
    double whole = 0;
    for (std::size_t i = 0; i < 4; ++i) whole += std::exp2(static_cast<double>(lse[i * heads + h]));
    ASSERT_NEAR(merged[h], std::log2(whole), 1e-5 * (1 + std::abs(std::log2(whole))));
    ASSERT_EQ(merged[heads + h], -INFINITY);
    for (std::size_t d = 0; d < dim; ++d) {
      double sum = 0, all = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        const double weight = std::exp2(static_cast<double>(lse[i * heads + h]));
        sum += weight * static_cast<double>(partial[(i * heads + h) * dim + d]);
        all += weight;
      }
      ASSERT_NEAR(out[h * dim + d], sum / all, 1e-6);
      ASSERT_EQ(out[(heads + h) * dim + d], 0.0f);
    }
  }
}

/// Groups 1 to 8 and beyond, contexts at the edges of blocks, tiles and parts, split and whole.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant>
void check_decode_grid() {
  constexpr auto b = static_cast<std::int32_t>(block_tokens);
  std::uint64_t seed = 1;
  for (const std::size_t group : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u}) {
    const std::int32_t edge = group % 2 == 0 ? b : 16;
    check_decode<Format, block_tokens, head_dim, Query, Variant>(
        group % 3 == 0 ? 2 : 1, group, {edge, edge + 1, edge - 1, 1, 0}, 1, ++seed);
    if (::testing::Test::HasFatalFailure()) return;
    check_decode<Format, block_tokens, head_dim, Query, Variant>(
        1, group, {95, static_cast<std::int32_t>(7 * group + 3)}, 1000, ++seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace quire::kernels::testing
