#include <cstring>

#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/kv_format/kv_format.hpp>
#include <tests/attention/harness.hpp>

namespace quire::attention::testing {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Shape {
  std::size_t tokens, rows, heads, kv_heads, head_dim;
};
const Shape shapes[] = {{1, 1, 1, 1, 16},    {5, 5, 2, 1, 8},     {63, 63, 4, 2, 32},
                        {64, 64, 3, 3, 64},  {65, 1, 8, 2, 64},   {130, 70, 4, 1, 24},
                        {200, 3, 6, 2, 128}, {257, 257, 2, 2, 5}, {300, 33, 64, 1, 80}};

TEST(Paged, EqualsReference) {
  for (const Shape& s : shapes) {
    const Dense d(s.tokens, s.heads, s.kv_heads, s.head_dim, s.tokens);
    const auto out = run_paged<kv_format::Fp32>(d, Causal{}, s.rows, s.rows, 16, 2);
    EXPECT_LT(largest_error(out, run_reference(d, Causal{}, s.rows)), 4e-6)
        << s.tokens << " tokens, " << s.heads << "/" << s.kv_heads << " heads of " << s.head_dim;
  }
}

TEST(Paged, LargeLogitsStayFinite) {
  Dense d(150, 2, 1, 32, 9);
  for (float& x : d.q) x *= 100;
  const auto out = run_paged<kv_format::Fp32>(d, Causal{}, 150, 150, 16, 1, 1.0f);
  EXPECT_LT(largest_error(out, run_reference(d, Causal{}, 150, 1.0)), 2e-3);
}

TEST(Paged, BlockSizeDoesNotChangeABit) {
  const Dense d(300, 6, 2, 40, 3);
  const auto contiguous = run_paged<kv_format::Fp32>(d, Causal{}, 300, 300, 512, 1);
  for (std::size_t block : std::initializer_list<std::size_t>{1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    EXPECT_TRUE(same_bits(run_paged<kv_format::Fp32>(d, Causal{}, 300, 300, block, 1), contiguous))
        << "block size " << block;
  }
}

TEST(Paged, ChunksAndThreadsDoNotChangeABit) {
  const Dense d(210, 4, 2, 64, 4);
  for (std::int64_t window : {1, 7, 64, 100, 1000}) {
    const SlidingWindow variant(window);
    const auto whole = run_paged<kv_format::Fp32>(d, variant, 210, 210, 16, 1);
    EXPECT_LT(largest_error(whole, run_reference(d, variant, 210)), 4e-6) << "window " << window;
    for (std::size_t chunk : std::initializer_list<std::size_t>{1, 3, 13, 64, 128}) {
      EXPECT_TRUE(same_bits(run_paged<kv_format::Fp32>(d, variant, 210, chunk, 16, 3), whole))
          << "window " << window << ", chunk " << chunk;
    }
  }
}

template <class Format>
void expect_bits_of_many(float (*rounded)(float)) {
  for (const std::size_t group : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    for (const std::size_t head_dim : {64, 96, 128, 256}) {
      Dense d(150, 2 * group, 2, head_dim, group);
      for (float& x : d.keys) x = rounded(x);
      for (float& x : d.values) x = rounded(x);
      for (const std::int64_t window : {20, 1000}) {
        const SlidingWindow variant(window);
        const auto many = run_paged<Format>(d, variant, 90, 90, 16, 1);
        EXPECT_LT(largest_error(many, run_reference(d, variant, 90)), 1e-5)
            << "group " << group << ", head_dim " << head_dim << ", window " << window;
        EXPECT_TRUE(same_bits(run_paged<Format>(d, variant, 90, 1, 16, 1), many))
            << "group " << group << ", head_dim " << head_dim << ", window " << window;
      }
    }
  }
}
/// One token of a prompt meets halves as they lie, many meet a copy of them in fp32 (half_rows.hpp).
TEST(Paged, FewQueriesOfBf16HaveTheBitsOfMany) {
  expect_bits_of_many<kv_format::Bf16>([](float x) { return to_float(to_bf16(x)); });
}
TEST(Paged, FewQueriesOfFp16HaveTheBitsOfMany) {
  expect_bits_of_many<kv_format::Fp16>([](float x) { return to_float(to_fp16(x)); });
}

/// Few heads leave few tasks: threads then share out their context, some heads at a time.
TEST(Paged, ThreadsShareLongSequencesWithoutChangingABit) {
  for (const std::size_t kv_heads : {std::size_t{1}, std::size_t{6}}) {
    const Dense d(3 * span_tokens + 70, kv_heads == 1 ? 3 : 6, kv_heads, 16, 11);
    for (const std::int64_t window : {std::int64_t{1} << 40, std::int64_t{2 * span_tokens + 30}}) {
      const SlidingWindow variant(window);
      const auto alone = run_paged<kv_format::Fp32>(d, variant, 3, 3, 16, 1);
      EXPECT_LT(largest_error(alone, run_reference(d, variant, 3)), 4e-6) << "window " << window;
      for (const std::size_t threads : {std::size_t{2}, std::size_t{5}}) {
        EXPECT_TRUE(same_bits(run_paged<kv_format::Fp32>(d, variant, 3, 1, 16, threads), alone))
            << "heads " << kv_heads << ", window " << window << ", threads " << threads;
      }
    }
  }
}

TEST(Paged, OtherSequencesInTheBatchDoNotChangeABit) {
  const Dense a(90, 4, 2, 32, 1), b(33, 4, 2, 32, 2);
  PagedCache<kv_format::Fp32> cache(64, 8, 2, 32, 5);
  const auto table_a = cache.place(a, 90), table_b = cache.place(b, 33);
  const std::size_t width = 4 * 32;
  std::vector<float> q(a.q);
  q.insert(q.end(), b.q.begin(), b.q.end());
  std::vector<float> out(q.size(), poison());
  const SequenceRows rows[] = {{0, 90, 0, table_a}, {90, 33, 0, table_b}};
  Workspace workspace;
  ThreadPool pool(2);
  paged<kv_format::Fp32>(cache.view(), {q.data(), width, out.data(), width, 4, 0.125f, rows},
                         Causal{}, workspace, pool);
  auto alone = run_paged<kv_format::Fp32>(a, Causal{}, 90, 90, 8, 1);
  const auto second = run_paged<kv_format::Fp32>(b, Causal{}, 33, 33, 8, 1);
  alone.insert(alone.end(), second.begin(), second.end());
  EXPECT_TRUE(same_bits(out, alone));
}

/// Blocks that lie before every window may be gone: their ids point nowhere.
TEST(Paged, BlocksBeforeTheWindowAreNotTouched) {
  const Dense d(200, 2, 2, 16, 6);
  const SlidingWindow variant(20);
  PagedCache<kv_format::Fp32> cache(60, 4, 2, 16, 5);
  auto table = cache.place(d, 200);
  for (std::size_t b = 0; b < (199 - 19) / 4; ++b) table[b] = BlockId{0xffffffu};
  std::vector<float> out(32, poison());
  const SequenceRows row{0, 1, 199, table};
  Workspace workspace;
  ThreadPool pool(1);
  paged<kv_format::Fp32>(cache.view(), {&d.q[199 * 32], 32, out.data(), 32, 2, 0.125f, {&row, 1}},
                         variant, workspace, pool);
  EXPECT_LT(largest_error(out, run_reference(d, variant, 1)), 4e-6);
}

template <class Format>
Dense rounded(Dense d) {
  for (auto* values : {&d.keys, &d.values}) {
    for (float& x : *values) x = to_float(from_float<typename Format::Element>(x));
  }
  return d;
}

/// A format equals fp32 on the values that it stores, in place and through load() alike.
template <class Format>
struct Opaque {  // the same format without the promise of a plain layout
  static constexpr std::string_view name = "opaque";
  static std::size_t slab_bytes(std::size_t t, std::size_t d) { return Format::slab_bytes(t, d); }
  static double token_bytes(std::size_t d) { return Format::token_bytes(d); }
  static void store(std::byte* s, std::size_t t, std::size_t d, std::size_t i, const float* v) {
    Format::store(s, t, d, i, v);
  }
  static void load(const std::byte* s, std::size_t t, std::size_t d, std::size_t i, float* v) {
    Format::load(s, t, d, i, v);
  }
};

template <class Format>
void expect_exact_storage() {
  for (std::size_t head_dim : std::initializer_list<std::size_t>{32, 20}) {
    const Dense d(100, 4, 2, head_dim, 8);
    const auto exact = run_paged<kv_format::Fp32>(rounded<Format>(d), Causal{}, 50, 50, 16, 1);
    EXPECT_TRUE(same_bits(run_paged<Format>(d, Causal{}, 50, 50, 16, 1), exact)) << Format::name;
    EXPECT_TRUE(same_bits(run_paged<Opaque<Format>>(d, Causal{}, 50, 50, 16, 1), exact))
        << Format::name;
  }
}

TEST(Paged, FormatsEqualFp32OnWhatTheyStore) {
  expect_exact_storage<kv_format::Fp32>();
  expect_exact_storage<kv_format::Bf16>();
  expect_exact_storage<kv_format::Fp16>();
}

}  // namespace
}  // namespace quire::attention::testing
