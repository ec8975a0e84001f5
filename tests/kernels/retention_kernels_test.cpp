// What retention policies need of a device, and single stored tokens: each against the format's own
// load() and loops in double.
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/attention_votes/attention_votes.cuh>
#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/move_tokens/move_tokens.cuh>
#include <quire/kernels/page_ranges/page_ranges.cuh>
#include <quire/kernels/page_scores/page_scores.cuh>
#include <quire/kernels/paged_decode/plan.hpp>
#include <quire/kernels/read_tokens/read_tokens.cuh>
#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {
namespace {

namespace kv = kv_format;

/// Sequences in a pool, the slots behind their last tokens filled with numbers that would show.
template <class Format, unsigned block_tokens, unsigned head_dim>
struct StoredTokens : PagedPool<Format, block_tokens, head_dim> {
  static constexpr std::size_t kv_heads = 2;
  StoredTokens(const std::vector<std::int32_t>& tokens, std::uint64_t seed)
      : PagedPool<Format, block_tokens, head_dim>(kv_heads, tokens, seed) {
    for (std::size_t s = 0; s < tokens.size(); ++s) {
      const auto n = static_cast<std::size_t>(tokens[s]);
      this->fill(s, 0, n);
      std::vector<float> far(head_dim);
      for (std::size_t i = 0; i < head_dim; ++i) far[i] = i % 2 == 0 ? 500.0f : -500.0f;
      for (std::size_t t = n; t < this->blocks_of(tokens[s]) * block_tokens; ++t) {
        for (std::size_t h = 0; h < kv_heads; ++h) {
          for (const bool values : {false, true}) {
            Format::store(this->slab_of(s, t, h, values), block_tokens, head_dim, t % block_tokens,
                          far.data());
          }
        }
      }
    }
  }
  [[nodiscard]] std::vector<float> load(std::size_t s, std::size_t t, std::size_t h, bool values) {
    std::vector<float> x(head_dim);
    Format::load(this->slab_of(s, t, h, values), block_tokens, head_dim, t % block_tokens,
                 x.data());
    return x;
  }
};
const std::vector<std::int32_t> token_counts = {21, 1, 0, 32, 5};

template <class Format, unsigned block_tokens, unsigned head_dim>
void check_ranges(std::uint64_t seed) {
  using Key = KernelKey<Format, block_tokens, head_dim, Bf16>;
  constexpr std::size_t kv_heads = 2, row = kv_heads * 2 * head_dim, stride = 3 * row;
  StoredTokens<Format, block_tokens, head_dim> pool(token_counts, seed);
  std::vector<RangeWork> work;
  auto ranges = poisoned<float>(pool.memory.size() / pool.view.block_bytes * stride);
  auto expected = ranges;
  for (std::size_t s = 0; s < token_counts.size(); ++s) {
    const auto table = pool.table(s);
    for (std::size_t b = 0; b < table.size(); ++b) {
      const std::size_t first = b * block_tokens;
      const std::size_t end =
          std::min<std::size_t>(first + block_tokens, static_cast<std::size_t>(token_counts[s]));
      work.push_back({table[b], static_cast<std::uint32_t>(end - first)});
      for (std::size_t h = 0; h < kv_heads; ++h) {
        float* to = &expected[table[b] * stride + h * 2 * head_dim];
        for (std::size_t t = first; t < end; ++t) {
          const auto key = pool.load(s, t, h, false);
          for (std::size_t d = 0; d < head_dim; ++d) {
            to[d] = t == first ? key[d] : std::min(to[d], key[d]);
            to[head_dim + d] = t == first ? key[d] : std::max(to[head_dim + d], key[d]);
          }
        }
      }
    }
  }
  simt::launch<PageRanges<Key>>({{static_cast<unsigned>(work.size()), kv_heads}, 0},
                                {pool.view, work.data(), ranges.data(), stride});
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    ASSERT_EQ(std::isnan(ranges[i]), std::isnan(expected[i])) << Format::name << ", " << i;
    if (!std::isnan(expected[i])) {
      ASSERT_NEAR(ranges[i], expected[i], 1e-6 * (1 + std::abs(expected[i]))) << Format::name;
    }
  }
}

template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class Variant>
void check_votes(std::size_t group, std::uint64_t seed) {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  using Kernel = AttentionVotes<Key, Variant>;
  constexpr std::size_t kv_heads = 2, stride = 37;
  const std::size_t heads = kv_heads * group, sequences = token_counts.size();
  const MadeVariant<Variant> made(heads);
  StoredTokens<Format, block_tokens, head_dim> pool(token_counts, seed);
  const std::size_t q_stride = heads * head_dim + 8;
  const auto q = random_array<Query>(sequences * q_stride, pool.rng);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  std::vector<float> lse(sequences * heads, NAN);
  std::vector<long long> votes(sequences * kv_heads * stride);
  for (auto& v : votes) v = static_cast<long long>(pool.rng.below(1000));
  std::vector<double> expected(votes.begin(), votes.end());
  for (std::size_t s = 0; s < sequences; ++s) {
    if (token_counts[s] == 0) continue;
    const auto n = static_cast<std::size_t>(token_counts[s]);
    const auto first = static_cast<std::size_t>(made.variant.first_visible(token_counts[s] - 1));
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<double> weight(n, 0.0);
      double all = 0;
      for (std::size_t t = first; t < n; ++t) {
        const auto key = pool.load(s, t, h / group, false);
        double dot = 0;
        for (std::size_t d = 0; d < head_dim; ++d) {
          dot += double(to_float(q[s * q_stride + h * head_dim + d])) * double(key[d]);
        }
        dot *= double(scale);
        if constexpr (Variant::transforms_logits) {
          dot = double(made.variant.logit(DeviceMath{}, static_cast<float>(dot), h,
                                          static_cast<float>(n - 1 - t)));
        }
        all += weight[t] = std::exp(dot);
      }
      lse[s * heads + h] = static_cast<float>(std::log2(all));
      for (std::size_t t = first; t < n; ++t) {
        expected[(s * kv_heads + h / group) * stride + t] += 65536 * weight[t] / all;
      }
    }
  }
  const auto plan = plan_decode(std::span<const std::int32_t>(token_counts), made.variant,
                                {.blocks = 1000, .blocks_per_work = 2, .least_tokens = 16});
  AttentionVotesParams<Query, Variant> p;
  p.q = q.data();
  p.q_stride = q_stride;
  p.cache = pool.view;
  p.blocks = pool.tables.data();
  p.table_begin = pool.table_begin.data();
  p.lengths = pool.lengths.data();
  p.work = plan.work.data();
  p.lse = lse.data();
  p.votes = votes.data();
  p.vote_stride = stride;
  p.heads = static_cast<std::uint32_t>(heads);
  p.scale = scale;
  p.variant = made.variant;
  const simt::emulator::ScopedSchedule schedule({.seed = seed});
  simt::launch<Kernel>(
      {{static_cast<unsigned>(plan.work.size()), kv_heads}, Kernel::shared_bytes(group)}, p);
  for (std::size_t i = 0; i < votes.size(); ++i) {
    // each head rounds once, and fp32 weights are off by a few units of their last place
    ASSERT_NEAR(double(votes[i]), expected[i], 0.5 * double(group) + 0.3 + 1e-5 * expected[i])
        << Format::name << ", vote " << i;
  }
}

/// Moves that a compaction makes, against copies byte for byte.
template <class Format, unsigned block_tokens, unsigned head_dim>
void check_moves(std::uint64_t seed) {
  using Key = KernelKey<Format, block_tokens, head_dim, Bf16>;
  StoredTokens<Format, block_tokens, head_dim> pool(token_counts, seed);
  ExactBytes expected(pool.memory.size());
  std::copy_n(pool.memory.data(), pool.memory.size(), expected.data());
  const auto last = pool.table(3).back(), first = pool.table(3).front();
  std::vector<TokenMove> moves;
  // the last block's tokens close the first one's holes
  for (std::uint32_t i = 0; i < 11 && i / 2 < block_tokens; ++i) {
    moves.push_back({i % 2, last, (i + 1) % block_tokens, first, i / 2});
  }
  for (const TokenMove& m : moves) {
    for (const std::size_t side : {0u, 1u}) {
      const std::size_t slab = (side * pool.kv_heads + m.head) * pool.slab;
      const std::byte* from = pool.view.base + m.from_block * pool.view.block_bytes + slab;
      std::byte* to = expected.data() + (pool.view.base - pool.memory.data()) +
                      m.to_block * pool.view.block_bytes + slab;
      if constexpr (PlainKvFormat<Format>) {
        std::memcpy(to + m.to_slot * Key::row_bytes, from + m.from_slot * Key::row_bytes,
                    Key::row_bytes);
      } else {
        Format::copy(from, m.from_slot, to, m.to_slot, block_tokens, head_dim);
      }
    }
  }
  move_tokens<Key>({pool.view, moves.data(), static_cast<std::uint32_t>(moves.size())});
  ASSERT_EQ(std::memcmp(pool.memory.data(), expected.data(), pool.memory.size()), 0)
      << Format::name;
}

template <class Format, unsigned block_tokens, unsigned head_dim, class Out>
void check_reads(std::uint64_t seed) {
  using Key = KernelKey<Format, block_tokens, head_dim, Bf16>;
  constexpr std::size_t kv_heads = 2;
  StoredTokens<Format, block_tokens, head_dim> pool(token_counts, seed);
  const std::vector<std::uint32_t> sequence = {0, 3, 0, 4, 1};
  const std::vector<std::int32_t> position = {20, 17, 3, 4, 0};
  auto out = poisoned<Out>((sequence.size() + 1) * 2 * kv_heads * head_dim);
  simt::launch<ReadTokens<Key, Out>>({{static_cast<unsigned>(sequence.size()), 2 * kv_heads}, 0},
                                     {pool.view, pool.tables.data(), pool.table_begin.data(),
                                      sequence.data(), position.data(), out.data()});
  for (std::size_t r = 0; r < sequence.size(); ++r) {
    for (std::size_t h = 0; h < 2 * kv_heads; ++h) {
      const auto x = pool.load(sequence[r], static_cast<std::size_t>(position[r]), h % kv_heads,
                               h >= kv_heads);
      for (std::size_t d = 0; d < head_dim; ++d) {
        const float got = to_float(out[(r * 2 * kv_heads + h) * head_dim + d]);
        const double unit = sizeof(Out) == 4 ? 1e-6 : 0x1p-8;
        ASSERT_NEAR(got, x[d], unit * (1 + std::abs(x[d]))) << Format::name << ", row " << r;
      }
    }
  }
  ASSERT_TRUE(std::isnan(to_float(out[sequence.size() * 2 * kv_heads * head_dim])));
}

template <class Format, unsigned block_tokens, unsigned head_dim>
void check_tokens(std::uint64_t seed) {
  check_ranges<Format, block_tokens, head_dim>(seed);
  check_moves<Format, block_tokens, head_dim>(seed);
  check_reads<Format, block_tokens, head_dim, float>(seed);
}
TEST(StoredTokens, RangesMovesAndReads) {
  check_tokens<kv::Fp32, 1, 40>(1);
  check_tokens<kv::Int8PerTokenHead, 16, 128>(3);
  check_tokens<kv::Fp8PerTokenHead, 4, 96>(4);
  check_tokens<kv::Int4PerTokenHead, 5, 80>(5);
  check_tokens<OnDevice<kv::Mxfp4>, 3, 64>(9);
  check_tokens<OnDevice<kv::Nvfp4>, 16, 96>(10);
  check_moves<OnDevice<kv::Int4Grouped<32>>, 4, 128>(11);
  check_moves<kv::Int8PerTokenHead, 1, 64>(8);
  check_reads<kv::Bf16, 16, 256, Bf16>(6);
  check_reads<kv::Fp8E5m2, 8, 72, float>(7);
  move_tokens<KernelKey<kv::Bf16, 16, 64, Bf16>>({});
}

TEST(AttentionVotes, AddWholePartsOfEveryWeight) {
  check_votes<kv::Bf16, 16, 64, Bf16, attention::Causal>(3, 1);
  check_votes<kv::Int8PerTokenHead, 4, 80, Fp16, attention::Alibi>(2, 2);
  check_votes<kv::Int4PerTokenHead, 8, 128, float, attention::SlidingWindow>(2, 3);
}

TEST(PageScores, BoundEveryKeyOfAPage) {
  using Key = KernelKey<kv::Bf16, 8, 80, Bf16>;
  using Kernel = PageScores<Key>;
  constexpr std::size_t kv_heads = 2, group = 3, heads = kv_heads * group, dim = 80, pages = 9;
  constexpr std::size_t q_stride = heads * dim + 4, stride = 2 * kv_heads * 2 * dim;
  Rng rng(5);
  const std::vector<std::int32_t> lengths = {64, 1, 0, 33};
  const std::vector<std::uint32_t> tables = {3, 1, 7, 8, 0, 2, 9, 4, 6, 5, 8, 3, 1, 11};
  const std::vector<std::uint32_t> begin = {0, 8, 9, 9};
  const auto q = random_array<Bf16>(lengths.size() * q_stride, rng);
  auto ranges = random_array<float>(12 * stride, rng);
  auto scores = poisoned<float>(lengths.size() * kv_heads * pages + 1);
  const simt::emulator::ScopedSchedule schedule({.seed = 7});
  simt::launch<Kernel>({{4, kv_heads, 2}, Kernel::shared_bytes(group)},
                       {q.data(), q_stride, ranges.data(), stride, tables.data(), begin.data(),
                        lengths.data(), scores.data(), pages, heads, kv_heads});
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    for (std::size_t h = 0; h < kv_heads; ++h) {
      for (std::size_t page = 0; page < pages; ++page) {
        const float got = scores[(s * kv_heads + h) * pages + page];
        if (page * 8 >= static_cast<std::size_t>(lengths[s])) {
          ASSERT_EQ(got, -INFINITY) << s << ", page " << page;
          continue;
        }
        double best = -INFINITY;
        for (std::size_t g = 0; g < group; ++g) {
          const float* range = &ranges[tables[begin[s] + page] * stride + h * 2 * dim];
          double sum = 0;
          for (std::size_t d = 0; d < dim; ++d) {
            const double x = to_float(q[s * q_stride + (h * group + g) * dim + d]);
            sum += std::max(x * double(range[d]), x * double(range[dim + d]));
          }
          best = std::max(best, sum);
        }
        ASSERT_NEAR(got, best, 1e-4) << s << ", page " << page;
      }
    }
  }
  ASSERT_TRUE(std::isnan(scores.back()));
}

}  // namespace
}  // namespace quire::kernels::testing
