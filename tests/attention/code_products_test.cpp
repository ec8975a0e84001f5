// Attention over packed formats, most of which kernels multiply as whole numbers: against what load()
// reads, in double, over a grid of shapes.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/code_products.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/reference.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/fp8_e4m3.hpp>
#include <quire/kv_format/fp8_e5m2.hpp>
#include <quire/kv_format/fp8_per_token_head.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/keys_values.hpp>
#include <quire/kv_format/q4_0.hpp>
#include <quire/kv_format/q8_0.hpp>
#include <quire/kv_format/rotated.hpp>
#include <quire/model/shape.hpp>

namespace quire::attention {
namespace {

using namespace quire::kv_format;

struct Shape {
  std::size_t tokens, heads, kv_heads, head_dim;
};

/// One sequence in a poisoned pool, and what load() reads from it.
class Sequence {
 public:
  Sequence(const KvCodec& codec, const Shape& s, std::size_t block, std::uint64_t seed)
      : shape_(s),
        arena_(model_shape(s), blocks(s, block) + 1, static_cast<std::int64_t>(block), codec) {
    arena_.poison();
    Rng rng(seed);
    for (std::int64_t b = blocks(s, block); b > 0; --b) {
      table_.push_back({static_cast<std::uint32_t>(b)});
    }
    const std::size_t width = s.kv_heads * s.head_dim;
    std::vector<float> k(s.tokens * width), v(k.size());
    for (auto* x : {&k, &v}) {
      // one channel stands out, as those of real keys do
      for (std::size_t i = 0; i < x->size(); ++i) {
        (*x)[i] = static_cast<float>(rng.normal()) * (i % s.head_dim == 7 ? 6.0f : 1.0f);
      }
    }
    q_.resize(s.tokens * s.heads * s.head_dim);
    for (float& x : q_) x = static_cast<float>(rng.normal());
    ThreadPool one(1);
    const SequenceRows rows{0, s.tokens, 0, table_};
    const auto cache = arena_.layer(0);
    write_kv<Packed>(cache, {&rows, 1}, k.data(), v.data(), width, one);
    keys_.resize(k.size());
    values_.resize(v.size());
    exact_keys_ = by_heads(k);
    exact_values_ = by_heads(v);
    for (std::size_t h = 0; h < s.kv_heads; ++h) {
      for (std::size_t t = 0; t < s.tokens; ++t) {
        const BlockId b = table_[t / block];
        read(cache.codec->keys, cache.keys(b, h), block, t % block, key(h, t));
        read(cache.codec->values, cache.values(b, h), block, t % block, value(h, t));
      }
    }
  }

  /// The last `rows` tokens, `chunk` at a time. \shape result (rows, heads, head_dim)
  [[nodiscard]] std::vector<float> attend(std::size_t rows, std::size_t chunk,
                                          std::size_t threads) const {
    ThreadPool pool(threads);
    Workspace workspace;
    const std::size_t width = shape_.heads * shape_.head_dim;
    std::vector<float> out(rows * width, std::numeric_limits<float>::quiet_NaN());
    for (std::size_t first = 0; first < rows; first += chunk) {
      const std::size_t begin = shape_.tokens - rows + first;
      const SequenceRows s{first, std::min(chunk, rows - first), static_cast<std::int64_t>(begin),
                           table_};
      paged<Packed>(arena_.layer(0),
                    {q_.data() + (shape_.tokens - rows) * width,
                     width,
                     out.data(),
                     width,
                     shape_.heads,
                     0.1f,
                     {&s, 1}},
                    Causal{}, workspace, pool);
    }
    return out;
  }

  /// Largest error of attend()'s result against doubles from what load() reads.
  [[nodiscard]] double error(const std::vector<float>& out) const {
    const std::size_t rows = out.size() / (shape_.heads * shape_.head_dim);
    return furthest(attend_in_doubles(rows, keys_, values_), {out.begin(), out.end()});
  }
  /// What the format itself changes in the results of the last `rows` tokens.
  [[nodiscard]] double change_of_format(std::size_t rows) const {
    return furthest(attend_in_doubles(rows, keys_, values_),
                    attend_in_doubles(rows, exact_keys_, exact_values_));
  }

 private:
  static std::int64_t blocks(const Shape& s, std::size_t block) {
    return static_cast<std::int64_t>((s.tokens + block - 1) / block);
  }
  static model::Shape model_shape(const Shape& s) {
    model::Shape shape;
    shape.layers = 1;
    shape.kv_heads = static_cast<std::int64_t>(s.kv_heads);
    shape.head_dim = static_cast<std::int64_t>(s.head_dim);
    return shape;
  }
  static double furthest(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double e = std::abs(a[i] - b[i]);
      if (!(e <= worst)) worst = e;  // a NaN counts
    }
    return worst;
  }
  /// \shape keys, values (kv_heads, tokens, head_dim); result (rows, heads, head_dim)
  [[nodiscard]] std::vector<double> attend_in_doubles(std::size_t rows,
                                                      const std::vector<float>& keys,
                                                      const std::vector<float>& values) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < rows * shape_.heads; ++i) {
      const std::size_t t = shape_.tokens - rows + i / shape_.heads, h = i % shape_.heads;
      const std::size_t kv = h / (shape_.heads / shape_.kv_heads) * shape_.tokens;
      const auto row = reference(Causal{}, h, static_cast<std::int64_t>(t), 0.1, shape_.head_dim,
                                 &q_[(t * shape_.heads + h) * shape_.head_dim],
                                 &keys[kv * shape_.head_dim], &values[kv * shape_.head_dim]);
      out.insert(out.end(), row.begin(), row.end());
    }
    return out;
  }
  /// \shape x (tokens, kv_heads, head_dim); result (kv_heads, tokens, head_dim)
  [[nodiscard]] std::vector<float> by_heads(const std::vector<float>& x) const {
    std::vector<float> out;
    for (std::size_t h = 0; h < shape_.kv_heads; ++h) {
      for (std::size_t t = 0; t < shape_.tokens; ++t) {
        const float* const from = &x[(t * shape_.kv_heads + h) * shape_.head_dim];
        out.insert(out.end(), from, from + shape_.head_dim);
      }
    }
    return out;
  }
  float* key(std::size_t h, std::size_t t) {
    return &keys_[(h * shape_.tokens + t) * shape_.head_dim];
  }
  float* value(std::size_t h, std::size_t t) {
    return &values_[(h * shape_.tokens + t) * shape_.head_dim];
  }
  void read(const SideCodec& side, const std::byte* slab, std::size_t block, std::size_t slot,
            float* to) const {
    side.load(slab, block, shape_.head_dim, slot, to);
    if (side.from_basis != nullptr) side.from_basis(to, shape_.head_dim);
  }

  Shape shape_;
  Arena<Packed> arena_;
  std::vector<BlockId> table_;
  std::vector<float> q_, exact_keys_, exact_values_;
  std::vector<float> keys_, values_;  // as load() reads them
};

const KvCodec* const codecs[] = {&codec_of<Int8PerTokenHead>(),
                                 &codec_of<Int4PerTokenHead>(),
                                 &codec_of<Int4Grouped<32>>(),
                                 &codec_of<Q80>(),
                                 &codec_of<Q40>(),
                                 &codec_of<Rotated<Int4PerTokenHead>>(),
                                 &codec_of<KeysValues<Int8PerTokenHead, Int4Grouped<32>>>(),
                                 &codec_of<KeysValues<Fp8E4m3, Q80>>(),
                                 &codec_of<Fp8E4m3>(),
                                 &codec_of<Fp8E5m2>(),
                                 &codec_of<Fp8PerTokenHead>(),
                                 &codec_of<KeysValues<Int8PerTokenHead, Fp8PerTokenHead>>()};

bool suits(const KvCodec& codec, std::size_t block, std::size_t head_dim) {
  for (const SideCodec* side : {&codec.keys, &codec.values}) {
    if (side->refusal != nullptr && !side->refusal(block, head_dim).empty()) return false;
  }
  return true;
}

/// FP8 is multiplied in fp32; whole numbers of 4 or 8 bits with numbers of 16, whose rounding has to be
/// lost in what the format itself changes. Logits grow with the head, and with them what rounding does to weights.
double allowed(const KvCodec& codec, const Sequence& sequence, std::size_t rows) {
  const bool whole_numbers =
      codec.keys.code_layout != nullptr || codec.values.code_layout != nullptr;
  return whole_numbers ? sequence.change_of_format(rows) / 50 : 2e-5;
}

TEST(CodeProducts, EqualWhatLoadReadsOverAGridOfShapes) {
  const std::size_t head_dims[] = {64, 80, 96, 128, 256}, lengths[] = {1, 15, 64, 65, 130},
                    blocks[] = {1, 16, 24, 48, 256};
  std::size_t n = 0, run = 0;
  for (const KvCodec* codec : codecs) {
    for (const std::size_t head_dim : head_dims) {
      for (const std::size_t block : blocks) {
        if (!suits(*codec, block, head_dim)) continue;
        ++run;
        const std::size_t group = 1 + n % 8, tokens = lengths[n % 5], kv_heads = 1 + n % 2;
        ++n;
        const Shape shape{tokens, group * kv_heads, kv_heads, head_dim};
        const Sequence sequence(*codec, shape, block, n);
        const std::size_t rows = std::min<std::size_t>(tokens, 3);
        EXPECT_LT(sequence.error(sequence.attend(rows, rows, 1)), allowed(*codec, sequence, rows))
            << codec->name << ", " << tokens << " tokens, group " << group << ", heads of "
            << head_dim << ", blocks of " << block;
      }
    }
  }
  EXPECT_GT(run, 100u);
}

TEST(CodeProducts, ChunksThreadsAndBlocksDoNotChangeABit) {
  for (const KvCodec* codec : {codecs[0], codecs[4], codecs[6], codecs[8], codecs[10]}) {
    const Shape shape{2 * span_tokens + 70, 5, 1, 64};
    const Sequence sequence(*codec, shape, 16, 3);
    const auto whole = sequence.attend(12, 12, 1);
    EXPECT_LT(sequence.error({whole.end() - 5 * 64, whole.end()}), allowed(*codec, sequence, 1))
        << codec->name;
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}}) {
      EXPECT_EQ(sequence.attend(12, chunk, 3), whole) << codec->name << ", chunk " << chunk;
    }
    EXPECT_EQ(Sequence(*codec, shape, 64, 3).attend(12, 12, 2), whole) << codec->name;
  }
}

TEST(CodeProducts, BytesAreMultipliedExactly) {
  using namespace simd;
  Rng rng(1);
  alignas(64) std::uint8_t a[lanes * 4];
  alignas(64) std::int8_t b[lanes * 4];
  alignas(64) std::int32_t sum[lanes];
  for (int round = 0; round < 200; ++round) {
    for (std::size_t i = 0; i < lanes * 4; ++i) {
      // extremes often: sums of 16 bits would saturate
      a[i] = static_cast<std::uint8_t>(rng.below(3) == 0 ? 255 : rng.below(256));
      b[i] = static_cast<std::int8_t>(rng.below(3) == 0 ? -128
                                                        : static_cast<int>(rng.below(256)) - 128);
    }
    const auto words = [](const auto* p) {
      return hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(p));
    };
    hn::StoreU(dot_bytes(hn::Set(Words(), round), words(a), words(b)), Words(), sum);
    for (std::size_t l = 0; l < lanes; ++l) {
      std::int32_t want = round;
      for (std::size_t i = 4 * l; i < 4 * l + 4; ++i) want += a[i] * b[i];
      ASSERT_EQ(sum[l], want) << l;
    }
  }
}

/// \shape most: the largest whole number that so many digits are asked to hold
template <std::size_t Digits>
void expect_digits_hold(double most) {
  Rng rng(2);
  float x[64];
  std::int8_t digits[Digits * 64];
  std::int32_t totals[Digits];
  const auto put_together = [](const auto* digit, std::size_t stride) {
    int whole = 0;
    for (std::size_t d = Digits; d-- > 0;) whole = whole * 256 + digit[d * stride];
    return whole;
  };
  const auto split = [&] {
    return simd::to_digits<Digits>(x, 64, simd::largest_magnitude(x, 64), digits, 64, totals);
  };
  for (float& v : x) v = static_cast<float>(rng.normal());
  x[5] = -9.0f;
  x[6] = 9.0f;
  const float step = split();
  int total = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    const int whole = put_together(digits + i, 64);
    EXPECT_NEAR(static_cast<double>(step) * whole, static_cast<double>(x[i]), 9.0 * 0.51 / most)
        << i;
    total += whole;
  }
  EXPECT_EQ(put_together(totals, 1), total);
  x[9] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(split()));
  std::fill(std::begin(x), std::end(x), 0.0f);
  EXPECT_EQ(split(), 0.0f);
  EXPECT_EQ(put_together(totals, 1), 0);
}
template <std::size_t Digits>
void expect_digits_alike() {
  Rng rng(3);
  for (int round = 0; round < 2000; ++round) {
    float x[64];
    for (float& v : x) v = static_cast<float>(rng.normal());
    const float largest = simd::largest_magnitude(x, 64);
    std::int8_t together[Digits * 64], apart[Digits * 64];
    std::int32_t totals[Digits];
    simd::to_digits<Digits>(x, 64, largest, together, 64, totals);
    for (std::size_t i = 0; i < 64; i += 16) {
      simd::to_digits<Digits>(x + i, 16, largest, apart + i, 64, totals);
    }
    ASSERT_TRUE(std::equal(together, together + Digits * 64, apart)) << round;
  }
}
TEST(CodeProducts, DigitsOfANumberDoNotDependOnHowManyAreWritten) {
  expect_digits_alike<1>();
  expect_digits_alike<2>();
  expect_digits_alike<3>();
}
TEST(CodeProducts, DigitsHoldAsManyBitsAsTheySay) {
  expect_digits_hold<1>(127);
  expect_digits_hold<2>(127 * 257);
  expect_digits_hold<3>(0x1p22);
}

}  // namespace
}  // namespace quire::attention
