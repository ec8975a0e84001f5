// Slabs in runs of sixteen tokens: the numbers of a format's rows, other places.
#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/interleaved.hpp>
#include <quire/kv_format/q4_0.hpp>
#include <quire/kv_format/q8_0.hpp>
#include <quire/kv_format/qserve_kv4.hpp>
#include <quire/kv_format/rotated.hpp>

#include "tests/kv_format/tokens.hpp"

namespace quire::testing {
namespace {

using namespace quire::kv_format;
using Slab = AlignedArray<std::byte>;

struct InRuns {
  std::size_t block_tokens, head_dim;
};
constexpr InRuns in_runs[] = {{16, 64}, {16, 128}, {48, 96}, {256, 256}};

template <class Side, bool keys>
void expect_numbers_of_rows() {
  using Runs = Interleaved<Side, keys>;
  for (const auto [block, dim] : in_runs) {
    ASSERT_TRUE(Runs::code_layout(block, dim).in_runs);
    Slab rows(Side::slab_bytes(block, dim)), runs(rows.size());
    std::vector<float> got(dim), want(dim);
    for (std::size_t t = 0; t < block; ++t) {
      const std::vector<float> token = random_token(dim, t);
      Side::store(rows.data(), block, dim, t, token.data());
      Runs::store(runs.data(), block, dim, t, token.data());
    }
    for (std::size_t t = 0; t < block; ++t) {
      Side::load(rows.data(), block, dim, t, want.data());
      Runs::load(runs.data(), block, dim, t, got.data());
      ASSERT_EQ(got, want) << "token " << t << " of " << block << ", heads of " << dim;
    }
  }
}
template <class Side>
void expect_numbers_of_rows_on_both_sides() {
  expect_numbers_of_rows<Side, true>();
  expect_numbers_of_rows<Side, false>();
}
TEST(InterleavedSlabs, HoldTheNumbersOfRows) {
  expect_numbers_of_rows_on_both_sides<Int8PerTokenHead>();
  expect_numbers_of_rows_on_both_sides<Int4PerTokenHead>();
  expect_numbers_of_rows_on_both_sides<Int4Grouped<32>>();
  expect_numbers_of_rows_on_both_sides<Q80>();
  expect_numbers_of_rows_on_both_sides<Q40>();
}

/// Threads write tokens of a block side by side: no byte may hold something of two of them.
template <class Side, bool keys>
void expect_bytes_of_one_token_each() {
  using Runs = Interleaved<Side, keys>;
  constexpr std::size_t block = 32, dim = 64;
  std::vector<int> owners(Side::slab_bytes(block, dim));
  for (std::size_t t = 0; t < block; ++t) {
    Slab a(owners.size()), b(owners.size());
    for (std::size_t i = 0; i < a.size(); ++i) b[i] = ~(a[i] = std::byte{0});
    const std::vector<float> token = random_token(dim, t);
    Runs::store(a.data(), block, dim, t, token.data());
    Runs::store(b.data(), block, dim, t, token.data());
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      owners[i] += a[i] == b[i];
      bytes += a[i] == b[i];
    }
    EXPECT_EQ(static_cast<double>(bytes), Side::token_bytes(dim)) << t;
  }
  for (const int n : owners) EXPECT_LE(n, 1);
}
TEST(InterleavedSlabs, EachByteBelongsToOneToken) {
  expect_bytes_of_one_token_each<Int8PerTokenHead, true>();
  expect_bytes_of_one_token_each<Int8PerTokenHead, false>();
  expect_bytes_of_one_token_each<Int4PerTokenHead, true>();
  expect_bytes_of_one_token_each<Int4PerTokenHead, false>();
  expect_bytes_of_one_token_each<Q40, true>();
  expect_bytes_of_one_token_each<Q80, false>();
}

TEST(InterleavedSlabs, AreWhatKernelsAreGivenWhereRunsFit) {
  const auto in_runs = [](const SideCodec& side, std::size_t block, std::size_t dim) {
    return side.code_layout(block, dim).in_runs;
  };
  const KvCodec& int8 = codec_of<Int8PerTokenHead>();
  EXPECT_TRUE(in_runs(int8.keys, 16, 128) && in_runs(int8.values, 16, 128));
  EXPECT_FALSE(in_runs(int8.keys, 8, 128));   // no whole run
  EXPECT_FALSE(in_runs(int8.keys, 16, 72));   // no whole words of sixteen bytes
  EXPECT_FALSE(in_runs(int8.keys, 16, 512));  // larger than any head
  EXPECT_TRUE(in_runs(codec_of<Rotated<Int4PerTokenHead>>().values, 16, 128));
  // fitted to a model: read through load() alone
  EXPECT_EQ(codec_of<QserveKv4>().keys.code_layout, nullptr);
  EXPECT_TRUE(in_runs(codec_of<QserveKv4>().values, 16, 128));
}

}  // namespace
}  // namespace quire::testing
