// What retention policies need of a device, and single stored tokens: each against the format's own
// load() and loops in double.
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/attention_votes/attention_votes.cuh>
#include <quire/kernels/choose_pages/choose_pages.cuh>
#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/move_tokens/move_tokens.cuh>
#include <quire/kernels/page_ranges/page_ranges.cuh>
#include <quire/kernels/page_scores/page_scores.cuh>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/paged_decode/plan.hpp>
#include <quire/kernels/read_tokens/read_tokens.cuh>
#include <quire/kernels/turn_queries/turn_queries.cuh>
#include <quire/model/rope.hpp>
#include <quire/retention/quest.hpp>
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

/// The lists that a row's KV heads have: `of` says which tokens of the row's sequence, in order.
struct TokenLists {
  std::vector<std::uint32_t> entries, begin;
  std::vector<std::int32_t> lengths;
  template <class Pool>
  void add(const Pool& pool, std::size_t s, std::span<const std::uint32_t> of,
           unsigned block_tokens) {
    begin.push_back(static_cast<std::uint32_t>(entries.size()));
    lengths.push_back(static_cast<std::int32_t>(of.size()));
    const auto table = pool.table(s);
    for (const std::uint32_t t : of) {
      entries.push_back(table[t / block_tokens] * block_tokens + t % block_tokens);
    }
  }
};
std::vector<std::uint32_t> first_tokens(std::uint32_t n) {
  std::vector<std::uint32_t> all(n);
  for (std::uint32_t i = 0; i < n; ++i) all[i] = i;
  return all;
}

/// Lists of all tokens give the bits of block tables; a head that lists fewer those of a shorter sequence,
/// also where a part of the work lies behind its end, and with it the log-sum-exp.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query>
void check_listed(std::size_t group, std::uint64_t seed) {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  constexpr DecodeTuning tuning{.warps = 2};
  constexpr std::size_t kv_heads = 2;
  const std::vector<std::int32_t> counts = {40, 1, 33}, fewer = {9, 1, 33};
  const std::size_t heads = kv_heads * group, width = heads * head_dim;
  StoredTokens<Format, block_tokens, head_dim> pool(counts, seed);
  const auto q = random_array<Query>(counts.size() * width, pool.rng);
  const auto attend = [&]<class K>(K, const std::vector<std::uint32_t>& entries,
                                   const std::vector<std::uint32_t>& begin,
                                   const std::vector<std::int32_t>& lengths,
                                   const std::vector<std::int32_t>& longest,
                                   std::vector<float>& lse) {
    std::vector<KeyRun> runs;
    for (std::uint32_t s = 0; s < longest.size(); ++s) runs.push_back({s, s, 0, longest[s]});
    const auto plan =
        plan_runs(runs, {.blocks = 1000, .blocks_per_work = 2, .least_tokens = 16}, true);
    auto out = poisoned<Query>(counts.size() * width);
    auto partial = poisoned<float>(plan.partials * width);
    auto partial_lse = poisoned<float>(plan.partials * heads);
    lse.assign(counts.size() * heads, NAN);
    PagedDecodeParams<Query, attention::Causal> p;
    p.q = q.data();
    p.out = out.data();
    p.q_stride = p.out_stride = width;
    p.cache = pool.view;
    p.blocks = entries.data();
    p.table_begin = begin.data();
    p.lengths = lengths.data();
    p.work = plan.work.data();
    p.partial = partial.data();
    p.partial_lse = partial_lse.data();
    p.heads = static_cast<std::uint32_t>(heads);
    p.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    paged_decode<K, attention::Causal, tuning>(
        p, static_cast<std::uint32_t>(plan.work.size()), plan.merges.data(),
        static_cast<std::uint32_t>(plan.merges.size()), {}, lse.data());
    return std::vector<Query>(out.data(), out.data() + out.size());
  };
  TokenLists lists;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    for (const auto& n : {counts, fewer}) {
      lists.add(pool, s, first_tokens(static_cast<std::uint32_t>(n[s])), block_tokens);
    }
  }
  std::vector<float> lse, lse_all, lse_fewer;
  const auto got = attend(ListedKey<Key>{}, lists.entries, lists.begin, lists.lengths, counts, lse);
  const auto all = attend(Key{}, pool.tables, pool.table_begin, counts, counts, lse_all);
  const auto few = attend(Key{}, pool.tables, pool.table_begin, fewer, fewer, lse_fewer);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t head = i / head_dim;
    const bool short_head = head % heads >= group;
    const auto& expected = short_head ? few : all;
    ASSERT_NEAR(to_float(got[i]), to_float(expected[i]), short_head ? 1e-2 : 0)
        << Format::name << ", " << i;
    ASSERT_NEAR(lse[head], (short_head ? lse_fewer : lse_all)[head], 1e-3) << Format::name;
  }
}
TEST(ListedKeys, AttendAsBlockTablesDo) {
  check_listed<kv::Fp32, 4, 16, float>(2, 1);
  check_listed<kv::Bf16, 16, 64, Bf16>(3, 2);
  check_listed<kv::Int8PerTokenHead, 16, 64, Fp16>(1, 3);
  check_listed<kv::Int4PerTokenHead, 8, 64, Fp16>(2, 4);
  check_listed<OnDevice<kv::Mxfp4>, 16, 64, Bf16>(2, 5);
}

/// Rows of one sequence, and KV heads of one lane, vote for the same tokens.
TEST(AttentionVotes, OfListedKeysAddUpOverRowsAndHeads) {
  constexpr unsigned block_tokens = 4, dim = 16;
  using Key = ListedKey<KernelKey<kv::Fp32, block_tokens, dim, float>>;
  using Kernel = AttentionVotes<Key, attention::Causal, retention::LowVotes>;
  constexpr std::size_t kv_heads = 2, group = 2, heads = kv_heads * group, rows = 3;
  StoredTokens<kv::Fp32, block_tokens, dim> pool({30}, 3);
  const std::vector<std::uint32_t> kept = {0, 1, 5, 6, 11, 12, 20, 21, 22, 27, 28, 29};
  TokenLists lists;
  lists.entries = {0};  // whose vote is nobody's
  TokenLists one;
  one.add(pool, 0, kept, block_tokens);
  lists.entries.insert(lists.entries.end(), one.entries.begin(), one.entries.end());
  std::vector<retention::VoteRow> voters;
  std::vector<DecodeWork> work;
  for (std::uint32_t r = 0; r < rows; ++r) {
    const auto seen = static_cast<std::int32_t>(kept.size() - rows + r + 1);
    for (std::size_t h = 0; h < kv_heads; ++h) {
      lists.begin.push_back(1);
      lists.lengths.push_back(seen);
    }
    voters.push_back({27 + r, 30, static_cast<std::int64_t>(rows) - 1 - r, 0});
    work.push_back({r, 0, 7, 0});
    work.push_back({r, 7, static_cast<std::int32_t>(kept.size()), 0});
  }
  const auto q = random_array<float>(rows * heads * dim, pool.rng);
  std::vector<float> lse(rows * heads);
  std::vector<long long> votes(kept.size() + 1, 0), expected = votes;
  RetentionLimits limits;
  limits.history = 2;
  const retention::LowVotes low(limits);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t n = kept.size() - rows + r + 1;
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<double> weight(n);
      double all = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const auto key = pool.load(0, kept[i], h / group, false);
        double dot = 0;
        for (std::size_t d = 0; d < dim; ++d)
          dot += double(q[(r * heads + h) * dim + d]) * double(key[d]);
        all += weight[i] = std::exp(dot * 0.25);
      }
      lse[r * heads + h] = static_cast<float>(std::log2(all));
      for (std::size_t i = 0; i < n; ++i) {
        expected[i + 1] +=
            low.vote(std::lrint(65536 * weight[i] / all), {0, 0, 0, static_cast<std::int64_t>(n)});
      }
    }
  }
  const typename Kernel::Params p{q.data(),
                                  heads * dim,
                                  pool.view,
                                  lists.entries.data(),
                                  lists.begin.data(),
                                  lists.lengths.data(),
                                  work.data(),
                                  lse.data(),
                                  votes.data(),
                                  0,
                                  heads,
                                  0.25f,
                                  {},
                                  voters.data(),
                                  low};
  simt::launch<Kernel>(
      {{static_cast<unsigned>(work.size()), kv_heads}, Kernel::shared_bytes(group)}, p);
  EXPECT_EQ(votes, expected);
}

/// As the host chooses, among equal scores and zeros of either sign too.
TEST(ChoosePages, AreThoseThatQuestChooses) {
  using Kernel = ChoosePages<PortableBlock<64>>;
  constexpr std::uint32_t tokens = 4;
  constexpr std::size_t kv_heads = 2, stride = 200;
  Rng rng(9);
  const std::vector<std::uint32_t> rows = {2, 0};
  const std::vector<std::int32_t> lengths = {36, 1, 4 * 193};
  const std::vector<std::uint32_t> begin = {200, 0, 1};
  std::vector<std::uint32_t> tables(220);
  for (auto& b : tables) b = static_cast<std::uint32_t>(rng.below(1000));
  std::vector<float> scores(rows.size() * kv_heads * stride);
  for (float& x : scores) {
    const float few[] = {-0.0f, 0.0f, -1.5f, 2.0f, -INFINITY};
    x = rng.below(2) == 0 ? few[rng.below(5)] : static_cast<float>(rng.uniform() - 0.5);
  }
  for (const std::uint32_t count : {1u, 2u, 9u}) {
    RetentionLimits limits;
    limits.budget = count * tokens;
    const retention::Quest quest(limits, tokens);
    ASSERT_EQ(quest.pages(), count);
    auto chosen = poisoned<std::uint32_t>(rows.size() * kv_heads * count * tokens + 1);
    const auto unwritten = chosen[0];
    simt::launch<Kernel>({{static_cast<unsigned>(rows.size()), kv_heads}, Kernel::shared_bytes},
                         {scores.data(), stride, tables.data(), begin.data(), lengths.data(),
                          rows.data(), chosen.data(), count, tokens});
    const std::uint32_t* got = chosen.data();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto pages = static_cast<std::size_t>((lengths[rows[i]] + 3) / 4);
      for (std::size_t h = 0; h < kv_heads; ++h) {
        std::vector<std::uint32_t> expected;
        quest.choose({&scores[(i * kv_heads + h) * stride], pages}, expected);
        ASSERT_EQ(expected.size(), count);
        for (const std::uint32_t page : expected) {
          for (std::uint32_t slot = 0; slot < tokens; ++slot) {
            ASSERT_EQ(*got++, tables[begin[rows[i]] + page] * tokens + slot)
                << count << " pages, row " << i << ", head " << h;
          }
        }
      }
    }
    EXPECT_EQ(*got, unwritten);
  }
}

TEST(TurnQueries, GiveTheProductsOfTurnedKeys) {
  constexpr unsigned dim = 16, heads = 3;
  using Kernel = TurnQueries<float, dim>;
  const model::Rope rope(dim, 10000.0, {}, {});
  std::vector<float> angles(20 * dim);
  for (std::int64_t p = 0; p < 20; ++p) rope.angles(p, &angles[static_cast<std::size_t>(p) * dim]);
  Rng rng(4);
  const std::vector<TurnedQuery> turned = {{1, 7}, {0, 19}, {1, 0}};
  auto q = random_array<float>((2 + turned.size()) * heads * dim, rng);
  const std::vector<float> before(q.data(), q.data() + q.size());
  const auto k = random_array<float>(dim, rng);
  simt::launch<Kernel>({{3, heads}, 0}, {q.data(), turned.data(), angles.data(), 2});
  for (std::size_t i = 0; i < 2 * heads * dim; ++i) ASSERT_EQ(q[i], before[i]);
  for (std::size_t i = 0; i < turned.size(); ++i) {
    std::vector<float> key(k.data(), k.data() + dim);
    rope.rotate(&angles[turned[i].by * dim], key.data());
    for (std::size_t h = 0; h < heads; ++h) {
      double expected = 0, got = 0;
      for (std::size_t d = 0; d < dim; ++d) {
        expected += double(before[(turned[i].row * heads + h) * dim + d]) * double(key[d]);
        got += double(q[((2 + i) * heads + h) * dim + d]) * double(k[d]);
      }
      ASSERT_NEAR(got, expected, 1e-5) << i << ", head " << h;
    }
  }
}

TEST(TokenMoves, RunTogetherUntilTheirOrderMatters) {
  const std::vector<TokenMove> moves = {
      {0, 5, 0, 1, 0}, {1, 1, 0, 5, 0}, {0, 5, 1, 1, 1}, {0, 1, 1, 2, 0}};
  EXPECT_EQ(independent(moves), 3u);  // the last one moves on what the third has moved
  const std::vector<TokenMove> onto = {{0, 5, 0, 1, 0}, {0, 6, 0, 5, 0}, {0, 7, 0, 8, 0}};
  EXPECT_EQ(independent(onto), 1u);
  const std::vector<TokenMove> twice = {{0, 5, 0, 1, 0}, {0, 6, 0, 1, 0}};
  EXPECT_EQ(independent(twice), 1u);
  EXPECT_EQ(independent(std::span(moves).first(3)), 3u);
  const std::vector<TokenMove> apart = {{0, 5, 0, 1, 0}, {0, 5, 1, 1, 1}};
  EXPECT_EQ(independent(apart), 2u);
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
