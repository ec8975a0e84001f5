// Keys that several sequences share are read once for all: who shares what, and that no bit tells.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/attention/alibi.hpp>
#include <quire/attention/causal.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/shared_prefix.hpp>
#include <quire/attention/sinks.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/attention/soft_cap.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/kv_format.hpp>

namespace quire::attention {
namespace {

using Tables = std::vector<std::vector<BlockId>>;

std::vector<SequenceRows> rows_of(const Tables& tables) {
  std::vector<SequenceRows> rows;
  for (std::size_t i = 0; i < tables.size(); ++i) rows.push_back({i, 1, 0, tables[i]});
  return rows;
}
std::vector<BlockId> table_of(std::initializer_list<std::uint32_t> blocks) {
  std::vector<BlockId> table;
  for (const std::uint32_t b : blocks) table.push_back({b});
  return table;
}

TEST(SharedPrefixes, AreThoseThatSaveMost) {
  SharedPrefixes shared;
  const Tables few{table_of({1, 2, 3, 4}), table_of({7, 8}), table_of({1, 2, 3, 5}), {},
                   table_of({1, 2, 9}),    table_of({6})};
  shared.find(rows_of(few));
  ASSERT_EQ(shared.groups().size(), 1u);  // two blocks of three sequences: more than three of two
  EXPECT_EQ(shared.groups()[0].blocks, 2u);
  auto members = shared.members(shared.groups()[0]);
  EXPECT_EQ(std::vector(members.begin(), members.end()), (std::vector<std::uint32_t>{0, 2, 4}));

  const Tables deep{table_of({1, 2, 3, 4, 5}), table_of({1, 6, 7, 8}), table_of({1, 2, 3, 4, 5}),
                    table_of({1, 6, 7, 9})};
  shared.find(rows_of(deep));
  ASSERT_EQ(shared.groups().size(), 2u);
  EXPECT_EQ(shared.groups()[0].blocks, 5u);
  EXPECT_EQ(shared.groups()[1].blocks, 3u);

  // two that share three blocks save most where fewer than three do not pay
  shared.find(rows_of(few), 3);
  ASSERT_EQ(shared.groups().size(), 1u);
  EXPECT_EQ(shared.groups()[0].blocks, 3u);
  members = shared.members(shared.groups()[0]);
  EXPECT_EQ(std::vector(members.begin(), members.end()), (std::vector<std::uint32_t>{0, 2}));
  shared.find(rows_of(few), 4);
  EXPECT_TRUE(shared.groups().empty());
  shared.find({});
  EXPECT_TRUE(shared.groups().empty());
}

/// The most blocks that sequences which share their first `depth` can save, a level of a tree at a time,
/// where sharing fewer than `least` saves nothing.
std::size_t most_saved(const Tables& tables, const std::vector<std::size_t>& some,
                       std::size_t depth, std::size_t least) {
  if (some.size() < 2) return 0;
  std::map<std::uint32_t, std::vector<std::size_t>> next;
  for (const std::size_t i : some) {
    if (tables[i].size() > depth) next[tables[i][depth].value].push_back(i);
  }
  std::size_t parts = 0;
  for (const auto& [block, of] : next) parts += most_saved(tables, of, depth + 1, least);
  return std::max(parts, depth < least ? 0 : (some.size() - 1) * depth);
}

TEST(SharedPrefixes, SaveWhatATreeOfTheTablesSaves) {
  SharedPrefixes shared;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(seed);
    Tables tables(2 + rng.below(12));
    for (auto& t : tables) {
      // a child's blocks are its own: a block stands behind one other alone
      std::uint32_t at = 0;
      for (std::size_t n = rng.below(7); n > 0; --n) {
        at = 3 * at + 1 + static_cast<std::uint32_t>(rng.below(3) == 0 ? rng.below(3) : 0);
        t.push_back({at});
      }
    }
    const std::size_t least = 1 + seed % 3;
    shared.find(rows_of(tables), least);
    std::vector<int> seen(tables.size(), 0);
    std::size_t saved = 0;
    for (const SharedPrefixes::Group& g : shared.groups()) {
      const auto members = shared.members(g);
      ASSERT_GE(members.size(), 2u);
      ASSERT_GE(g.blocks, least);
      saved += (members.size() - 1) * g.blocks;
      for (const std::uint32_t m : members) {
        EXPECT_EQ(++seen[m], 1);
        ASSERT_GE(tables[m].size(), g.blocks);
        EXPECT_TRUE(std::equal(tables[m].begin(),
                               tables[m].begin() + static_cast<std::ptrdiff_t>(g.blocks),
                               tables[members[0]].begin()));
      }
    }
    std::vector<std::size_t> all(tables.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    EXPECT_EQ(saved, most_saved(tables, all, 0, least)) << "seed " << seed;
  }
}

/// Sequences whose first `prefix` tokens lie in the same blocks, each with some of its own behind them.
template <class Format>
class SharingBatch {
 public:
  using Storage = kv_format::storage_of<Format>;
  struct Sizes {
    std::size_t sequences = 3, prefix = 64, own = 5, rows = 1, group = 1, block = 16, dim = 64;
  };

  explicit SharingBatch(const Sizes& s) : sizes_(s) {
    model::Shape shape;
    shape.layers = 1;
    shape.kv_heads = kv_heads;
    shape.head_dim = static_cast<std::int64_t>(s.dim);
    const std::size_t shared_blocks = s.prefix / s.block;
    std::size_t blocks = shared_blocks;
    for (std::size_t i = 0; i < s.sequences; ++i) {
      lengths_.push_back(s.prefix + s.own + 3 * i);
      blocks += ceil_div(lengths_.back(), s.block) - shared_blocks;
    }
    arena_ = kv_format::Arena<Storage>(shape, static_cast<std::int64_t>(blocks),
                                       static_cast<std::int64_t>(s.block),
                                       kv_format::codec_of<Format>());
    arena_.poison();
    Rng rng(s.prefix + s.sequences);
    std::vector<BlockId> free;
    for (std::uint32_t b = 0; b < blocks; ++b) free.push_back({b});
    for (std::size_t i = free.size(); i > 1; --i) std::swap(free[i - 1], free[rng.below(i)]);
    ThreadPool one(1);
    const std::size_t width = kv_heads * s.dim;
    std::vector<float> keys(lengths_.back() * width), values(keys);
    for (std::size_t i = 0; i < s.sequences; ++i) {
      tables_.emplace_back();
      if (i > 0) {
        tables_[i].assign(tables_[0].begin(),
                          tables_[0].begin() + static_cast<std::ptrdiff_t>(shared_blocks));
      }
      while (tables_[i].size() * s.block < lengths_[i]) {
        tables_[i].push_back(free.back());
        free.pop_back();
      }
      // The prefix is written once; what stands in its last block beyond it is everybody's own.
      const std::size_t from = i == 0 ? 0 : shared_blocks * s.block;
      for (std::size_t t = from * width; t < lengths_[i] * width; ++t) {
        if (i > 0 && t < s.prefix * width) continue;
        keys[t] = static_cast<float>(rng.normal());
        values[t] = static_cast<float>(rng.normal());
      }
      const SequenceRows all{0, lengths_[i] - from, static_cast<std::int64_t>(from), tables_[i]};
      arena_.begin({&all, 1});
      write_kv<Storage>(arena_.layer(0), {&all, 1}, &keys[from * width], &values[from * width],
                        width, one);
      arena_.end({&all, 1}, nullptr);
    }
    std::size_t row = 0;
    for (std::size_t i = 0; i < s.sequences; ++i, row += s.rows) {
      rows_.push_back({row, s.rows, static_cast<std::int64_t>(lengths_[i] - s.rows), tables_[i]});
    }
    q_.resize(row * heads() * s.dim);
    for (float& x : q_) x = static_cast<float>(rng.normal());
  }
  [[nodiscard]] std::size_t heads() const { return kv_heads * sizes_.group; }

  /// together: whether shared keys are found. keys: how many of each sequence were read for all.
  template <class Variant>
  std::vector<float> attend(const Variant& variant, bool together, std::size_t threads,
                            std::vector<std::size_t>* keys = nullptr) {
    ThreadPool pool(threads);
    Workspace workspace;
    SharedPrefixes shared;
    if (together) shared.find(rows_);
    const std::size_t width = heads() * sizes_.dim;
    std::vector<float> out(q_.size(), std::numeric_limits<float>::quiet_NaN());
    paged<Storage>(arena_.layer(0).readable(),
                   {q_.data(), width, out.data(), width, heads(), 0.125f, rows_, &shared}, variant,
                   workspace, pool);
    if (keys != nullptr) *keys = workspace.shares().shared_keys;
    return out;
  }

 private:
  static constexpr std::size_t kv_heads = 2;
  Sizes sizes_;
  kv_format::Arena<Storage> arena_;
  std::vector<std::size_t> lengths_;
  Tables tables_;
  std::vector<SequenceRows> rows_;
  std::vector<float> q_;
};

template <class Format, class Variant>
void expect_no_bit_tells(const typename SharingBatch<Format>::Sizes& sizes, const Variant& variant,
                         std::size_t shared_keys) {
  SharingBatch<Format> batch(sizes);
  const std::vector<float> alone = batch.attend(variant, false, 1);
  for (const std::size_t threads : {1u, 3u}) {
    std::vector<std::size_t> keys;
    const std::vector<float> together = batch.attend(variant, true, threads, &keys);
    EXPECT_EQ(std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)), 0)
        << Format::name << ", prefix " << sizes.prefix << ", " << sizes.sequences << " sequences, "
        << sizes.rows << " rows, group " << sizes.group << ", threads " << threads;
    for (const float x : together) ASSERT_FALSE(std::isnan(x));
    EXPECT_EQ(keys, std::vector(sizes.sequences, shared_keys)) << "prefix " << sizes.prefix;
  }
}

TEST(SharedPrefixes, NoBitTellsThatKeysWereReadForAll) {
  using kv_format::Fp32;
  expect_no_bit_tells<Fp32>({.prefix = 48}, Causal{}, 0);  // less than a tile
  expect_no_bit_tells<Fp32>({.prefix = 64}, Causal{}, 64);
  expect_no_bit_tells<Fp32>({.prefix = 200, .group = 4, .dim = 40}, Causal{}, 192);
  expect_no_bit_tells<Fp32>({.sequences = 30, .prefix = 128, .group = 4}, Causal{}, 128);
  expect_no_bit_tells<Fp32>({.prefix = 320, .own = 9, .rows = 3, .group = 2}, Causal{}, 320);
  expect_no_bit_tells<Fp32>({.sequences = 2, .prefix = 512, .block = 256}, Causal{}, 512);
  for (const std::size_t around : {span_tokens - 64, span_tokens, span_tokens + 64}) {
    expect_no_bit_tells<Fp32>({.prefix = around, .group = 4}, Causal{}, around);
    expect_no_bit_tells<Fp32>({.prefix = around, .own = 2 * span_tokens}, Causal{}, around);
  }
}
template <class... Formats>
void expect_no_bit_tells_in() {
  (expect_no_bit_tells<Formats>({.sequences = 9, .prefix = 256, .group = 4}, Causal{}, 256), ...);
  (expect_no_bit_tells<Formats>({.prefix = span_tokens + 128, .group = 8}, Causal{},
                                span_tokens + 128),
   ...);
}
TEST(SharedPrefixes, NoBitTellsInAnyFormat) {
  expect_no_bit_tells_in<kv_format::Bf16, kv_format::Fp16, kv_format::Int8PerTokenHead,
                         kv_format::Int4PerTokenHead, kv_format::Q80, kv_format::Fp8E4m3>();
}
TEST(SharedPrefixes, NoBitTellsInAnyVariant) {
  using kv_format::Fp32;
  const SharingBatch<Fp32>::Sizes sizes{.sequences = 5, .prefix = 256, .group = 2};
  expect_no_bit_tells<Fp32>(sizes, SoftCap(20), 256);
  const std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0625f};
  expect_no_bit_tells<Fp32>(sizes, Alibi(slopes), 256);
  const std::vector<float> logits{0.5f, -1.0f, 2.0f, 0.0f};
  expect_no_bit_tells<Fp32>(sizes, Sinks(logits), 256);
  expect_no_bit_tells<Fp32>(sizes, SlidingWindow(1000), 256);
  expect_no_bit_tells<Fp32>(sizes, SlidingWindow(100), 0);  // it begins behind shared keys
}

/// Queries that fill tiles of their own, and tokens that lie beside their blocks, are not put together.
TEST(SharedPrefixes, WhatCannotShareIsReadAlone) {
  expect_no_bit_tells<kv_format::Fp32>({.prefix = 128, .own = 70, .rows = 40, .group = 2}, Causal{},
                                       0);
  expect_no_bit_tells<kv_format::Kivi<4>>({.prefix = 256, .block = 32}, Causal{}, 0);
}

}  // namespace
}  // namespace quire::attention
