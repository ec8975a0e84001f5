// The kernels of a step beside attention, each against a plain loop in double.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <quire/kernels/dense/dense.hpp>
#include <quire/kernels/embedding/embedding.cuh>
#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/layer_norm/layer_norm.cuh>
#include <quire/kernels/rms_norm/rms_norm.cuh>
#include <quire/kernels/swiglu/swiglu.cuh>
#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {
namespace {

namespace kv = kv_format;

/// Writes rows through the kernel, and through the format's own store() what it should have written.
template <class Format, unsigned block_tokens, unsigned head_dim, class Query, class In>
void check_cache_write(bool norm, bool turn) {
  using Key = KernelKey<Format, block_tokens, head_dim, Query>;
  using Kernel = CacheWrite<Key, In>;
  constexpr std::size_t heads = 3, kv_heads = 2, half = head_dim / 2;
  const std::vector<std::int32_t> lengths = {19, 1, 40};
  // `zeroed` tells what bytes a store writes: those that are then as in `plain`
  PagedPool<Format, block_tokens, head_dim> pool(kv_heads, lengths, 3), plain(kv_heads, lengths, 3),
      zeroed(kv_heads, lengths, 3);
  std::memset(zeroed.memory.data(), 0, zeroed.memory.size());
  std::vector<std::uint32_t> sequence;
  std::vector<std::int32_t> position;
  for (std::uint32_t s = 0; s < lengths.size(); ++s) {
    for (std::int32_t t = lengths[s] / 2; t < lengths[s]; ++t) {
      sequence.push_back(s);
      position.push_back(t);
    }
  }
  const std::size_t rows = sequence.size(), width = (heads + 2 * kv_heads) * head_dim;
  auto qkv = random_array<In>(rows * width, pool.rng);
  // a head of zeros has no largest magnitude to scale by
  for (std::size_t i = 0; i < head_dim; ++i) qkv[(heads + 1) * head_dim + i] = In{};
  for (std::size_t i = 0; i < head_dim; ++i) qkv[width - head_dim + i] = In{};
  // a head whose int8 scale is the smallest that has an inverse
  for (std::size_t i = 0; i < head_dim; ++i) {
    qkv[2 * width - head_dim + i] = from_float<In>(i % 2 == 0 ? 127 * 0x1p-126f : -127 * 0x1p-126f);
  }
  const auto query_norm = random_array<float>(head_dim, pool.rng);
  const auto key_norm = random_array<float>(head_dim, pool.rng);
  std::vector<float> angles(40 * head_dim);
  for (std::size_t t = 0; t < 40; ++t) {
    for (std::size_t i = 0; i < half; ++i) {
      angles[t * head_dim + i] = static_cast<float>(std::cos(0.3 * double(t) / double(1 + i)));
      angles[t * head_dim + half + i] =
          static_cast<float>(std::sin(0.3 * double(t) / double(1 + i)));
    }
  }
  auto q = poisoned<Query>(rows * heads * head_dim);
  CacheWriteParams<In, Query> p;
  p.qkv = qkv.data();
  p.stride = width;
  p.q = q.data();
  p.cache = pool.view;
  p.blocks = pool.tables.data();
  p.table_begin = pool.table_begin.data();
  p.sequence = sequence.data();
  p.position = position.data();
  if (turn) p.angles = angles.data();
  if (norm) p.query_norm = query_norm.data();
  if (norm) p.key_norm = key_norm.data();
  p.eps = 0.25f;
  p.heads = heads;
  const unsigned parts = (heads + 2 * kv_heads + Kernel::heads_a_block - 1) / Kernel::heads_a_block;
  simt::launch<Kernel>({{static_cast<unsigned>(rows), parts}, 0}, p);

  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t h = 0; h < heads + 2 * kv_heads; ++h) {
      const bool is_query = h < heads, is_value = h >= heads + kv_heads;
      std::vector<double> x(head_dim);
      double squares = 0;
      for (std::size_t i = 0; i < head_dim; ++i) {
        x[i] = to_float(qkv[r * width + h * head_dim + i]);
        squares += x[i] * x[i];
      }
      if (norm && !is_value) {
        const auto& scale = is_query ? query_norm : key_norm;
        const double factor = 1 / std::sqrt(squares / head_dim + 0.25);
        for (std::size_t i = 0; i < head_dim; ++i) x[i] *= factor * static_cast<double>(scale[i]);
      }
      if (turn && !is_value) {
        const float* a = &angles[static_cast<std::size_t>(position[r]) * head_dim];
        for (std::size_t i = 0; i < half; ++i) {
          const double c = a[i], s = a[half + i], u = x[i], v = x[half + i];
          x[i] = u * c - v * s;
          x[half + i] = v * c + u * s;
        }
      }
      std::vector<float> expected(x.begin(), x.end()), got(head_dim);
      double slack = 2e-6;
      if (is_query) {
        for (std::size_t i = 0; i < head_dim; ++i) {
          got[i] = to_float(q[(r * heads + h) * head_dim + i]);
        }
        slack = sizeof(Query) == 4 ? 2e-6 : std::is_same_v<Query, Bf16> ? 0x1p-8 : 0x1p-11;
      } else {
        const auto slot = static_cast<std::size_t>(position[r]) % block_tokens;
        const std::size_t kv_head = h - heads - (is_value ? kv_heads : 0);
        std::byte* to =
            zeroed.slab_of(sequence[r], static_cast<std::size_t>(position[r]), kv_head, is_value);
        Format::store(to, block_tokens, head_dim, slot, expected.data());
        to = plain.slab_of(sequence[r], static_cast<std::size_t>(position[r]), kv_head, is_value);
        Format::store(to, block_tokens, head_dim, slot, expected.data());
        Format::load(to, block_tokens, head_dim, slot, expected.data());
        Format::load(
            pool.slab_of(sequence[r], static_cast<std::size_t>(position[r]), kv_head, is_value),
            block_tokens, head_dim, slot, got.data());
        // untouched values arrive bit for bit; turned ones may round to a neighbour
        float largest = 0;
        for (const float v : expected) largest = std::max(largest, std::abs(v));
        const double step = std::is_same_v<Format, kv::Int8PerTokenHead>   ? largest / 127.0
                            : std::is_same_v<Format, kv::Fp32>             ? 2e-6
                            : std::is_same_v<Format, kv::Bf16>             ? 0x1p-7 * largest
                            : std::is_same_v<Format, kv::Fp16>             ? 0x1p-10 * largest
                            : std::is_same_v<Format, kv::Fp8E5m2>          ? 0x1p-2 * largest
                            : std::is_same_v<Format, kv::Int4PerTokenHead> ? 2 * largest / 15.0
                            : groups_codes<KvAccess<Format>>               ? largest / 2
                                                                           : 0x1p-3 * largest;
        slack = is_value ? 0 : 1.01 * step;
      }
      for (std::size_t i = 0; i < head_dim; ++i) {
        ASSERT_LE(std::abs(got[i] - expected[i]), slack * (1 + std::abs(expected[i])))
            << Format::name << ", row " << r << ", head " << h << ", value " << i;
      }
    }
  }
  // What no row names was not touched.
  for (std::size_t i = 0; i < pool.memory.size(); ++i) {
    if (plain.memory[i] == zeroed.memory[i]) continue;
    ASSERT_EQ(pool.memory[i], std::byte{0xff}) << Format::name << ", byte " << i;
  }
}
TEST(CacheWrite, NormsTurnsQuantisesAndWrites) {
  check_cache_write<kv::Fp32, 16, 64, float, float>(true, true);
  check_cache_write<kv::Fp32, 1, 80, float, float>(false, false);
  check_cache_write<kv::Bf16, 3, 128, Bf16, Bf16>(false, true);
  check_cache_write<kv::Fp16, 16, 96, Fp16, float>(true, true);
  check_cache_write<kv::Int8PerTokenHead, 16, 128, Bf16, Bf16>(false, true);
  check_cache_write<kv::Int8PerTokenHead, 5, 256, float, float>(true, true);
  check_cache_write<kv::Fp8E4m3, 16, 64, Bf16, Bf16>(false, true);
  check_cache_write<kv::Fp8E5m2, 4, 80, Fp16, Fp16>(false, false);
  check_cache_write<kv::Fp8PerTokenHead, 3, 128, Bf16, Bf16>(false, true);
  check_cache_write<kv::Int4PerTokenHead, 5, 80, Bf16, Bf16>(true, true);
  check_cache_write<kv::Int4PerTokenHead, 16, 128, float, float>(false, false);
  check_cache_write<OnDevice<kv::Int4Grouped<32>>, 16, 128, Bf16, Bf16>(false, true);
  check_cache_write<OnDevice<kv::Int4Grouped<64>>, 3, 64, float, float>(true, true);
  check_cache_write<OnDevice<kv::Mxfp4>, 5, 192, Bf16, Bf16>(false, true);
  check_cache_write<OnDevice<kv::Mxfp4>, 16, 64, float, float>(false, false);
  check_cache_write<OnDevice<kv::Nvfp4>, 4, 128, Fp16, float>(true, true);
  check_cache_write<OnDevice<kv::Nvfp4>, 16, 96, Bf16, Bf16>(false, false);
}

/// Lists of tokens, of another length and in other blocks for each KV head, whose last is the row's own, name
/// the places that block tables do.
template <class Format, unsigned block_tokens, unsigned head_dim, class Half>
void check_listed_write() {
  using Key = KernelKey<Format, block_tokens, head_dim, Half>;
  constexpr std::size_t heads = 3, kv_heads = 2, width = (heads + 2 * kv_heads) * head_dim;
  const std::vector<std::int32_t> lengths = {19, 1, 40};
  PagedPool<Format, block_tokens, head_dim> tables(kv_heads, lengths, 3),
      lists(kv_heads, lengths, 3);
  const std::vector<std::uint32_t> sequence = {0, 0, 1, 2, 2};
  const std::vector<std::int32_t> position = {17, 18, 0, 8, 39};
  const std::size_t rows = sequence.size();
  const auto blocks = static_cast<std::uint32_t>(lists.memory.size() / lists.view.block_bytes);
  std::vector<std::uint32_t> entries = {0x7fffffffu}, begin;
  std::vector<std::int32_t> listed;
  for (std::size_t r = 0; r < rows; ++r) {
    const auto table = lists.table(sequence[r]);
    for (std::uint32_t h = 0; h < kv_heads; ++h) {
      begin.push_back(static_cast<std::uint32_t>(entries.size()));
      for (std::int32_t t = h == 0 ? 0 : position[r] / 2; t <= position[r]; ++t) {
        const auto token = static_cast<std::uint32_t>(t);
        const std::uint32_t block = (table[token / block_tokens] + h) % blocks;
        entries.push_back(block * block_tokens + token % block_tokens);
      }
      listed.push_back(static_cast<std::int32_t>(entries.size() - begin.back()));
    }
  }
  entries.push_back(0x7fffffffu);
  const auto qkv = random_array<Half>(rows * width, tables.rng);
  auto q = poisoned<Half>(rows * heads * head_dim);
  CacheWriteParams<Half, Half> p;
  p.qkv = qkv.data();
  p.stride = width;
  p.q = q.data();
  p.cache = tables.view;
  p.blocks = tables.tables.data();
  p.table_begin = tables.table_begin.data();
  p.sequence = sequence.data();
  p.position = position.data();
  p.heads = heads;
  const auto write = [&]<class K>(K) {
    using Kernel = CacheWrite<K, Half>;
    constexpr unsigned a_block = Kernel::heads_a_block;
    simt::launch<Kernel>(
        {{static_cast<unsigned>(rows), (heads + 2 * kv_heads + a_block - 1) / a_block}, 0}, p);
  };
  write(Key{});
  auto again = poisoned<Half>(rows * heads * head_dim);
  p.q = again.data();
  p.cache = lists.view;
  p.blocks = entries.data();
  p.table_begin = begin.data();
  p.lengths = listed.data();
  p.sequence = nullptr;
  write(ListedKey<Key>{});
  ASSERT_EQ(lists.memory.size(), tables.memory.size());
  for (std::uint32_t block = 0; block < blocks; ++block) {
    for (std::uint32_t h = 0; h < kv_heads; ++h) {
      const std::uint32_t other = (block + h) % blocks;
      EXPECT_EQ(std::memcmp(Key::key_slab(lists.view, other, h),
                            Key::key_slab(tables.view, block, h), Key::slab_bytes),
                0);
      EXPECT_EQ(std::memcmp(Key::value_slab(lists.view, other, h),
                            Key::value_slab(tables.view, block, h), Key::slab_bytes),
                0);
    }
  }
  const auto untouched = [](auto& bytes) {
    return std::count(bytes.data(), bytes.data() + bytes.size(), std::byte{0xff});
  };
  EXPECT_EQ(untouched(lists.memory), untouched(tables.memory));  // nothing elsewhere
  EXPECT_EQ(std::memcmp(q.data(), again.data(), q.size() * sizeof(Half)), 0);
}
TEST(CacheWrite, WritesWhereListsSay) {
  check_listed_write<kv::Bf16, 4, 64, Bf16>();
  check_listed_write<kv::Int8PerTokenHead, 3, 80, Fp16>();
}

TEST(CopyBlocks, CopiesWithinAPoolAndBetweenPools) {
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{16384}, std::size_t{16384 + 64}}) {
    std::vector<std::byte> device(9 * bytes), host(4 * bytes);
    for (std::size_t i = 0; i < device.size(); ++i) device[i] = static_cast<std::byte>(i * 7 % 251);
    std::vector<std::byte> expected(9 * bytes), expected_host(4 * bytes);
    std::copy_n(device.data(), device.size(), expected.data());
    const std::vector<BlockMove> moves = {{2, 7}, {0, 4}, {8, 1}}, swaps = {{3, 2}, {4, 0}};
    for (const auto& m : moves) {
      std::copy_n(&expected[m.from * bytes], bytes, &expected[m.to * bytes]);
    }
    for (const auto& m : swaps) {
      std::copy_n(&expected[m.from * bytes], bytes, &expected_host[m.to * bytes]);
    }
    copy_blocks({device.data(), device.data(), bytes, moves.data()}, 3);
    copy_blocks({device.data(), host.data(), bytes, swaps.data()}, 2);
    EXPECT_EQ(std::memcmp(device.data(), expected.data(), device.size()), 0);
    EXPECT_EQ(std::memcmp(host.data(), expected_host.data(), host.size()), 0);
  }
  copy_blocks({}, 0);
}

/// Each primitive twice in a row, so that the second needs the first one's barriers.
template <unsigned width>
struct Twice {
  static constexpr std::string_view name = "primitives_twice";
  static constexpr unsigned threads = width;
  using Block = PortableBlock<width>;
  struct Params {
    unsigned long long* counts;  // \shape (threads, 4)
    float* sums;                 // \shape (threads, 2)
    Largest* largest;            // \shape (threads, 2)
  };
  QUIRE_DEVICE static void run(const Params& p) {
    const Block block{0};
    const unsigned t = simt::thread();
    for (unsigned i = 0; i < 2; ++i) {
      p.counts[t * 4 + i] = block.sum(static_cast<unsigned long long>(t + i));
    }
    for (unsigned i = 0; i < 2; ++i) {
      p.counts[t * 4 + 2 + i] = block.sum_before(static_cast<unsigned long long>(t + i));
    }
    for (unsigned i = 0; i < 2; ++i) p.sums[t * 2 + i] = block.sum(static_cast<float>(t + i));
    for (unsigned i = 0; i < 2; ++i) {
      p.largest[t * 2 + i] = block.largest({static_cast<float>((t * 7 + i) % 50), t});
    }
  }
};
TEST(PortableBlock, SumsScansAndFindsTheLargest) {
  constexpr unsigned n = 96;
  using Kernel = Twice<n>;
  static_assert(BlockPrimitives<Kernel::Block>);
  std::vector<unsigned long long> counts(n * 4);
  std::vector<float> sums(n * 2);
  std::vector<Largest> largest(n * 2);
  simt::launch<Kernel>({{1}, Kernel::Block::bytes}, {counts.data(), sums.data(), largest.data()});
  for (unsigned t = 0; t < n; ++t) {
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned long long all = n * (n - 1) / 2 + i * n, before = t * (t - 1) / 2 + i * t;
      EXPECT_EQ(counts[t * 4 + i], all);
      EXPECT_EQ(counts[t * 4 + 2 + i], t == 0 ? 0 : before);
      EXPECT_EQ(sums[t * 2 + i], static_cast<float>(all));
      unsigned best = 0;
      for (unsigned o = 0; o < n; ++o) best = (o * 7 + i) % 50 > (best * 7 + i) % 50 ? o : best;
      EXPECT_EQ(largest[t * 2 + i].index, best);
      EXPECT_EQ(largest[t * 2 + i].value, 49.0f);
    }
  }
}

TEST(RmsNorm, AddsToTheStreamAndNorms) {
  using Kernel = RmsNorm<float, PortableBlock<256>>;
  Rng rng(2);
  for (const std::uint32_t width : {64u, 255u, 1000u}) {
    auto stream = random_array<float>(3 * width, rng);
    const auto add = random_array<float>(3 * (width + 5), rng),
               scale = random_array<float>(width, rng);
    auto out = poisoned<float>(2 * width);
    std::vector<float> sum(3 * width);
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t i = 0; i < width; ++i) {
        sum[r * width + i] = stream[r * width + i] + add[r * (width + 5) + i];
      }
    }
    const std::uint32_t rows[] = {2, 0};
    simt::launch<Kernel>(
        {{2}, Kernel::shared_bytes},
        {stream.data(), add.data(), width + 5, scale.data(), out.data(), rows, width, 0.5f});
    for (std::size_t k = 0; k < 2; ++k) {
      const std::size_t r = rows[k];
      double squares = 0;
      for (std::size_t i = 0; i < width; ++i) {
        EXPECT_EQ(stream[r * width + i], sum[r * width + i]);
        squares += double(sum[r * width + i]) * double(sum[r * width + i]);
      }
      for (std::size_t i = 0; i < width; ++i) {
        const double expected =
            double(sum[r * width + i]) / std::sqrt(squares / width + 0.5) * double(scale[i]);
        ASSERT_NEAR(out[k * width + i], expected, 1e-5);
      }
    }
    EXPECT_NE(stream[width], sum[width]);  // row 1 was not asked for
    // only the sum, of all rows
    const auto before = stream;
    simt::launch<Kernel>({{3}, Kernel::shared_bytes}, {stream.data(), add.data(), width + 5,
                                                       nullptr, nullptr, nullptr, width, 0.5f});
    for (std::size_t i = 0; i < 3 * width; ++i) {
      ASSERT_EQ(stream[i], before[i] + add[i / width * (width + 5) + i % width]);
    }
  }
}

TEST(LayerNorm, AddsToTheStreamCentersAndNorms) {
  using Kernel = LayerNorm<float, PortableBlock<256>>;
  Rng rng(3);
  for (const std::uint32_t width : {64u, 255u, 1000u}) {
    auto stream = random_array<float>(3 * width, rng);
    for (float& x : stream) x += 40;  // a mean that squares must not be taken of
    const auto add = random_array<float>(3 * width, rng), scale = random_array<float>(width, rng),
               bias = random_array<float>(width, rng);
    auto out = poisoned<float>(2 * width);
    const std::vector<float> before = stream;
    const std::uint32_t rows[] = {2, 0};
    simt::launch<Kernel>({{2}, Kernel::shared_bytes}, {stream.data(), add.data(), scale.data(),
                                                       bias.data(), out.data(), rows, width, 0.5f});
    for (std::size_t k = 0; k < 2; ++k) {
      const float* x = &stream[rows[k] * width];
      double mean = 0, squares = 0;
      for (std::size_t i = 0; i < width; ++i) {
        ASSERT_EQ(x[i], before[rows[k] * width + i] + add[rows[k] * width + i]);
        mean += double(x[i]) / width;
      }
      for (std::size_t i = 0; i < width; ++i) {
        squares += (double(x[i]) - mean) * (double(x[i]) - mean);
      }
      for (std::size_t i = 0; i < width; ++i) {
        const double expected =
            (double(x[i]) - mean) / std::sqrt(squares / width + 0.5) * double(scale[i]) +
            double(bias[i]);
        ASSERT_NEAR(out[k * width + i], expected, 2e-5);
      }
    }
    EXPECT_EQ(stream[width], before[width]);  // row 1 was not asked for
    // nothing to add, all rows in order
    const auto added = stream;
    auto all = poisoned<float>(3 * width);
    simt::launch<Kernel>(
        {{3}, Kernel::shared_bytes},
        {stream.data(), nullptr, scale.data(), bias.data(), all.data(), nullptr, width, 0.5f});
    EXPECT_EQ(stream, added);
    for (std::size_t i = 0; i < width; ++i) {
      ASSERT_EQ(all[i], out[width + i]);
      ASSERT_EQ(all[2 * width + i], out[i]);
      ASSERT_FALSE(std::isnan(all[width + i]));
    }
  }
}

// The norm behind the sum is what the stream goes on with; without a norm the sum itself comes out.
TEST(LayerNorm, LiesBehindTheSumOrNowhere) {
  using Kernel = LayerNorm<Fp16, PortableBlock<64>>;
  Rng rng(13);
  constexpr std::uint32_t width = 133;
  const auto before = random_array<float>(3 * width, rng);
  const auto add = random_array<float>(3 * width, rng), scale = random_array<float>(width, rng),
             bias = random_array<float>(width, rng);
  const std::uint32_t rows[] = {2, 0};
  for (const bool norms : {true, false}) {
    auto stream = before;
    auto out = poisoned<Fp16>(2 * width);
    simt::launch<Kernel>({{2}, Kernel::shared_bytes},
                         {stream.data(), add.data(), norms ? scale.data() : nullptr,
                          norms ? bias.data() : nullptr, out.data(), rows, width, 0.5f, true});
    for (std::size_t k = 0; k < 2; ++k) {
      const std::size_t row = rows[k] * width;
      double mean = 0, squares = 0;
      const auto sum = [&](std::size_t i) { return double(before[row + i] + add[row + i]); };
      for (std::size_t i = 0; i < width; ++i) mean += sum(i) / width;
      for (std::size_t i = 0; i < width; ++i) squares += (sum(i) - mean) * (sum(i) - mean);
      for (std::size_t i = 0; i < width; ++i) {
        const double expected =
            norms ? (sum(i) - mean) / std::sqrt(squares / width + 0.5) * double(scale[i]) +
                        double(bias[i])
                  : sum(i);
        ASSERT_NEAR(stream[row + i], expected, 2e-5);
        ASSERT_EQ(to_float(out[k * width + i]), to_float(from_float<Fp16>(stream[row + i])));
      }
    }
    EXPECT_EQ(stream[width], before[width]);  // row 1 was not asked for
  }
}

TEST(Activation, ReluAndGelu) {
  Rng rng(5);
  constexpr std::uint32_t width = 300, stride = width + 3;
  const auto in = random_array<Fp16>(2 * stride, rng);
  auto out = poisoned<float>(2 * width);
  const auto check = [&](auto f) {
    for (std::size_t i = 0; i < 2 * width; ++i) {
      const double x = to_float(in[i / width * stride + i % width]);
      ASSERT_NEAR(out[i], f(x), 2e-6);
    }
  };
  simt::launch<Activation<Relu, Fp16, float>>({{2, 2}}, {in.data(), stride, out.data(), width});
  check([](double x) { return std::max(x, 0.0); });
  simt::launch<Activation<GeluTanh, Fp16, float>>({{2, 2}}, {in.data(), stride, out.data(), width});
  check([](double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  });
}

TEST(GatedActivation, SiluAndGelu) {
  Rng rng(4);
  constexpr std::uint32_t width = 300;
  const auto in = random_array<Fp16>(2 * (2 * width + 1), rng);
  auto out = poisoned<float>(2 * width);
  auto check = [&](auto f) {
    for (std::size_t r = 0; r < 2; ++r) {
      for (std::size_t i = 0; i < width; ++i) {
        const double gate = to_float(in[r * (2 * width + 1) + i]);
        const double up = to_float(in[r * (2 * width + 1) + width + i]);
        ASSERT_NEAR(out[r * width + i], f(gate) * up, 2e-6);
      }
    }
  };
  simt::launch<GatedActivation<Silu, Fp16, float>>({{2, 2}},
                                                   {in.data(), 2 * width + 1, out.data(), width});
  check([](double x) { return x / (1 + std::exp(-x)); });
  simt::launch<GatedActivation<GeluTanh, Fp16, float>>(
      {{2, 2}}, {in.data(), 2 * width + 1, out.data(), width});
  check([](double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  });
}

TEST(Embedding, LooksUpRows) {
  Rng rng(6);
  const auto table = random_array<Bf16>(7 * 260, rng);
  const std::vector<std::uint32_t> tokens = {6, 0, 3, 3};
  auto out = poisoned<float>(4 * 260);
  simt::launch<Embedding<Bf16>>({{4, 2}}, {table.data(), tokens.data(), out.data(), 260});
  for (std::size_t r = 0; r < 4; ++r) {
    for (std::size_t i = 0; i < 260; ++i) {
      EXPECT_EQ(out[r * 260 + i], to_float(table[tokens[r] * 260 + i]));
    }
  }
}

TEST(Embedding, AddsLearnedPositions) {
  Rng rng(7);
  const auto table = random_array<Bf16>(7 * 260, rng), places = random_array<Bf16>(5 * 260, rng);
  const std::vector<std::uint32_t> tokens = {6, 0, 3};
  const std::vector<std::int32_t> position = {4, 0, 2};
  auto out = poisoned<float>(3 * 260);
  simt::launch<Embedding<Bf16>>(
      {{3, 2}}, {table.data(), tokens.data(), out.data(), 260, places.data(), position.data()});
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t i = 0; i < 260; ++i) {
      EXPECT_EQ(out[r * 260 + i],
                to_float(table[tokens[r] * 260 + i]) +
                    to_float(places[static_cast<std::size_t>(position[r]) * 260 + i]));
    }
  }
}

// Tokens that came through a projection are where positions are added.
TEST(Embedding, AddsPositionsToWhatIsThere) {
  Rng rng(8);
  const auto places = random_array<Bf16>(5 * 260, rng);
  const auto before = random_array<float>(3 * 260, rng);
  const std::vector<std::int32_t> position = {4, 0, 2};
  auto out = before;
  simt::launch<Embedding<Bf16>>(
      {{3, 2}}, {nullptr, nullptr, out.data(), 260, places.data(), position.data()});
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t i = 0; i < 260; ++i) {
      EXPECT_EQ(
          out[r * 260 + i],
          before[r * 260 + i] + to_float(places[static_cast<std::size_t>(position[r]) * 260 + i]));
    }
  }
}

TEST(PlainProduct, MultipliesRows) {
  Rng rng(8);
  const auto x = random_array<float>(3 * 20, rng), bias = random_array<float>(5, rng);
  const auto w = random_array<Fp16>(5 * 20, rng);
  auto y = poisoned<float>(3 * 5);
  PlainProduct().multiply<float, Fp16, float>(
      {x.data(), w.data(), bias.data(), y.data(), 3, 20, 5});
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t o = 0; o < 5; ++o) {
      double sum = bias[o];
      for (std::size_t i = 0; i < 20; ++i)
        sum += double(x[r * 20 + i]) * double(to_float(w[o * 20 + i]));
      EXPECT_NEAR(y[r * 5 + o], sum, 1e-5);
    }
  }
}

}  // namespace
}  // namespace quire::kernels::testing
