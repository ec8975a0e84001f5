#include <quire/attention/retained.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/q8_0.hpp>

#include "tests/attention/harness.hpp"

namespace quire::attention::testing {
namespace {

/// A dense sequence of which each lane kept some tokens, in scattered slots of a poisoned cache; the
/// last `rows` tokens are the step's.
template <class Format>
struct Kept {
  const Dense& d;
  std::size_t rows, block_tokens;
  retention::Scope scope;
  std::vector<retention::Lane> lanes;
  std::vector<BlockId> table;
  AlignedArray<std::byte> memory;
  KvView<std::byte> view;
  std::vector<std::size_t> votes_at;
  std::vector<std::int64_t> votes;

  Kept(const Dense& dense, std::size_t step, std::size_t block, retention::Scope s, double share,
       std::uint64_t seed)
      : d(dense), rows(step), block_tokens(block), scope(s) {
    Rng rng(seed);
    lanes.resize(retention::lane_count(scope, 1, d.kv_heads));
    const std::size_t blocks = d.tokens / block + 2;
    for (std::uint32_t b = 0; b < blocks; ++b) table.push_back({b});
    shuffle(table, rng);
    std::size_t total = 0;
    for (retention::Lane& lane : lanes) {
      std::vector<std::uint32_t> slots(blocks * block);
      std::iota(slots.begin(), slots.end(), 0u);
      shuffle(slots, rng);
      for (std::size_t t = 0; t < d.tokens; ++t) {
        if (t + rows < d.tokens && rng.uniform() >= share) continue;
        lane.entries.push_back({static_cast<std::int64_t>(t), slots.back(), 0});
        slots.pop_back();
      }
      votes_at.push_back(total);
      total += lane.entries.size();
    }
    votes.assign(total, 0);
    const std::size_t slab = Format::slab_bytes(block, d.head_dim);
    view = {nullptr, 2 * d.kv_heads * slab, slab, block, d.kv_heads, d.head_dim};
    memory = AlignedArray<std::byte>(blocks * view.block_bytes);
    view.base = memory.data();
    const std::vector<float> bad(d.head_dim, poison());
    TokenWriter<Format> writer(view);
    for (const BlockId b : table) {
      for (std::size_t h = 0; h < d.kv_heads; ++h) {
        for (std::size_t t = 0; t < block; ++t) writer.write(b, h, t, t, bad.data(), bad.data());
      }
    }
    // what was kept before the step, then the step's own through the function under test
    for (std::size_t h = 0; h < d.kv_heads; ++h) {
      const auto& entries = lane(h).entries;
      for (std::size_t i = 0; i + rows < entries.size(); ++i) {
        const std::size_t from =
            (h * d.tokens + static_cast<std::size_t>(entries[i].position)) * d.head_dim;
        writer.write(table[entries[i].slot / block], h, entries[i].slot % block, i, &d.keys[from],
                     &d.values[from]);
      }
    }
    const std::size_t width = d.kv_heads * d.head_dim;
    std::vector<float> k(rows * width), v(rows * width);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t h = 0; h < d.kv_heads; ++h) {
        const std::size_t from = (h * d.tokens + d.tokens - rows + r) * d.head_dim;
        std::copy_n(&d.keys[from], d.head_dim, &k[r * width + h * d.head_dim]);
        std::copy_n(&d.values[from], d.head_dim, &v[r * width + h * d.head_dim]);
      }
    }
    ThreadPool one(1);
    const SequenceRows s_rows = sequence();
    const RetainedRows r_rows = retained_rows();
    write_retained<Format>(view, {&s_rows, 1}, {{&r_rows, 1}, scope, 0, nullptr}, k.data(),
                           v.data(), width, one);
  }
  template <class T>
  static void shuffle(std::vector<T>& v, Rng& rng) {
    for (std::size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[rng.below(i)]);
  }
  [[nodiscard]] const retention::Lane& lane(std::size_t head) const {
    return lanes[retention::lane_index(scope, 0, d.kv_heads, head)];
  }
  [[nodiscard]] SequenceRows sequence() const {
    return {0, rows, static_cast<std::int64_t>(d.tokens - rows), table};
  }
  [[nodiscard]] RetainedRows retained_rows() {
    return {lanes, static_cast<std::int64_t>(d.tokens - rows), static_cast<std::int64_t>(d.tokens),
            votes_at, votes.data()};
  }
  template <class Votes, bool reassigns>
  std::vector<float> run(const Votes& cast, std::size_t threads,
                         const model::Rope* rope = nullptr) {
    ThreadPool pool(threads);
    Workspace workspace;
    const std::size_t width = d.heads * d.head_dim;
    std::vector<float> out(rows * width, poison());
    const SequenceRows s = sequence();
    const RetainedRows r = retained_rows();
    retained<Format, Votes, reassigns>({view.base, view.block_bytes, view.slab_bytes,
                                        view.block_tokens, view.kv_heads, view.head_dim},
                                       {d.q.data() + (d.tokens - rows) * width,
                                        width,
                                        out.data(),
                                        width,
                                        d.heads,
                                        0.125f,
                                        {&s, 1}},
                                       {{&r, 1}, scope, 0, rope}, cast, workspace, pool);
    return out;
  }
  /// Weights of one query on the entries that it sees, in double, and what it gets.
  std::vector<double> weights(std::size_t row, std::size_t head, std::vector<double>& out,
                              const std::function<double(std::size_t entry)>& score) const {
    const auto& entries = lane(head / (d.heads / d.kv_heads)).entries;
    const std::size_t visible = entries.size() - rows + row + 1;
    std::vector<double> w(visible);
    double most = -1e300, total = 0;
    for (std::size_t i = 0; i < visible; ++i) most = std::max(most, w[i] = score(i));
    for (double& x : w) total += x = std::exp(x - most);
    for (double& x : w) x /= total;
    const std::size_t kv = head / (d.heads / d.kv_heads);
    for (std::size_t i = 0; i < visible; ++i) {
      const std::size_t at =
          (kv * d.tokens + static_cast<std::size_t>(entries[i].position)) * d.head_dim;
      for (std::size_t x = 0; x < d.head_dim; ++x) {
        out[x] += w[i] * static_cast<double>(d.values[at + x]);
      }
    }
    return w;
  }
  [[nodiscard]] double dot(std::size_t row, std::size_t head, std::size_t entry) const {
    const std::size_t kv = head / (d.heads / d.kv_heads);
    const float* q = &d.q[((d.tokens - rows + row) * d.heads + head) * d.head_dim];
    const auto p = static_cast<std::size_t>(lane(kv).entries[entry].position);
    const float* k = &d.keys[(kv * d.tokens + p) * d.head_dim];
    double s = 0;
    for (std::size_t x = 0; x < d.head_dim; ++x) {
      s += static_cast<double>(q[x]) * static_cast<double>(k[x]);
    }
    return 0.125 * s;
  }
};

struct Case {
  std::size_t tokens, rows, block;
  retention::Scope scope;
};
const Case cases[] = {{200, 1, 16, retention::Scope::head},
                      {200, 1, 1, retention::Scope::sequence},
                      {97, 40, 8, retention::Scope::layer},
                      {130, 130, 32, retention::Scope::head},
                      {65, 3, 256, retention::Scope::head}};

TEST(RetainedAttention, EqualsTheReferenceOverWhatIsKeptAndCountsWeights) {
  for (const Case& c : cases) {
    const Dense d(c.tokens, 6, 2, 24, c.tokens);
    Kept<kv_format::Fp32> kept(d, c.rows, c.block, c.scope, 0.3, 5);
    const std::vector<float> got =
        kept.run<retention::AllVotes, false>(retention::AllVotes(RetentionLimits{}), 3);
    std::vector<double> want;
    std::vector<double> votes(kept.votes.size());
    for (std::size_t r = 0; r < c.rows; ++r) {
      for (std::size_t h = 0; h < d.heads; ++h) {
        std::vector<double> out(d.head_dim);
        const auto w = kept.weights(r, h, out, [&](std::size_t i) { return kept.dot(r, h, i); });
        want.insert(want.end(), out.begin(), out.end());
        const std::size_t at = kept.votes_at[retention::lane_index(c.scope, 0, 2, h / 3)];
        for (std::size_t i = 0; i < w.size(); ++i) votes[at + i] += std::round(w[i] * 65536);
      }
    }
    EXPECT_LT(largest_error(got, want), 2e-5);
    for (std::size_t i = 0; i < votes.size(); ++i) {
      // each query's count may be off by one where its weight lies between two
      ASSERT_NEAR(static_cast<double>(kept.votes[i]), votes[i],
                  static_cast<double>(c.rows * d.heads));
    }
    const auto once = kept.votes;
    std::fill(kept.votes.begin(), kept.votes.end(), 0);
    EXPECT_EQ((kept.run<retention::AllVotes, false>(retention::AllVotes(RetentionLimits{}), 1)),
              got);
    EXPECT_EQ(kept.votes, once);
    EXPECT_EQ((kept.run<retention::NoVotes, false>({}, 2)), got);
  }
}

template <class Format>
void expect_bits_of_paged() {
  for (const Case& c : cases) {
    const Dense d(c.tokens, 4, 2, 32, 9);
    Kept<Format> kept(d, c.rows, c.block, c.scope, 1.0, 6);
    const auto paged = run_paged<Format>(d, Causal{}, c.rows, c.rows, 16, 1);
    EXPECT_EQ((kept.template run<retention::NoVotes, true>({}, 2)), paged);
    EXPECT_EQ(
        (kept.template run<retention::LastVote, false>(retention::LastVote(RetentionLimits{}), 2)),
        paged);
  }
}
TEST(RetainedAttention, HasTheBitsOfPagedWhereNothingWasDropped) {
  expect_bits_of_paged<kv_format::Fp32>();
  expect_bits_of_paged<kv_format::Bf16>();
  expect_bits_of_paged<kv_format::Int8PerTokenHead>();
  expect_bits_of_paged<kv_format::Int4PerTokenHead>();
  expect_bits_of_paged<kv_format::Q80>();
}

TEST(RetainedAttention, ReassignedPositionsAreThoseInTheCache) {
  constexpr std::size_t dims = 16;
  const model::Rope rope(dims, 100.0, {});
  for (const std::size_t rows : {std::size_t{1}, std::size_t{5}}) {
    Dense d(150, 2, 1, dims, 3);
    const Dense plain = d;
    std::vector<float> angles(dims);
    for (std::size_t t = 0; t < d.tokens; ++t) {  // as a decoder stores them
      rope.angles(static_cast<std::int64_t>(t), angles.data());
      rope.rotate(angles.data(), &d.keys[t * dims]);
      for (std::size_t h = 0; h < 2; ++h) rope.rotate(angles.data(), &d.q[(t * 2 + h) * dims]);
    }
    Kept<kv_format::Fp32> kept(d, rows, 16, retention::Scope::sequence, 0.4, 8);
    const std::vector<float> got = kept.run<retention::NoVotes, true>({}, 1, &rope);
    std::vector<double> want;
    const auto& entries = kept.lanes[0].entries;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t h = 0; h < 2; ++h) {
        std::vector<double> out(dims);
        kept.weights(r, h, out, [&](std::size_t i) {
          auto turned = [&](const float* x, std::size_t place) {
            std::vector<float> y(x, x + dims);
            rope.angles(static_cast<std::int64_t>(place), angles.data());
            rope.rotate(angles.data(), y.data());
            return y;
          };
          const auto q =
              turned(&plain.q[((d.tokens - rows + r) * 2 + h) * dims], entries.size() - rows + r);
          const auto k =
              turned(&plain.keys[static_cast<std::size_t>(entries[i].position) * dims], i);
          return 0.125 * std::inner_product(q.begin(), q.end(), k.begin(), 0.0);
        });
        want.insert(want.end(), out.begin(), out.end());
      }
    }
    EXPECT_LT(largest_error(got, want), 1e-4);
  }
}

TEST(RetainedAttention, SlotsAreCopiedBitForBit) {
  const kv_format::KvCodec& codec = kv_format::codec_of<kv_format::Int8PerTokenHead>();
  for (const std::size_t block : {std::size_t{8}, std::size_t{32}}) {
    for (const kv_format::SideCodec* side : {&codec.keys, &codec.values}) {
      constexpr std::size_t dims = 32;
      std::vector<std::byte> a(side->slab_bytes(block, dims)), b(a.size());
      std::vector<float> x(dims), y(dims), z(dims);
      Rng rng(2);
      for (float& v : x) v = static_cast<float>(rng.normal());
      side->store(a.data(), block, dims, 3, x.data());
      copy_slot(*side, a.data(), 3, b.data(), block - 2, block, dims);
      side->load(a.data(), block, dims, 3, y.data());
      side->load(b.data(), block, dims, block - 2, z.data());
      EXPECT_EQ(y, z);
    }
  }
}

}  // namespace
}  // namespace quire::attention::testing
