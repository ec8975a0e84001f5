// What every KV format promises, checked through its codec.
// - A slab is a whole number of 64-byte lines and holds its tokens; a pool costs the published bits a
//   value, up to a line a slab.
// - What is stored in a slot is read back from it, within the format's error; other slots keep their
//   content, in whatever order tokens arrive. Nothing is written outside the slab.
// - A copy of a slab's bytes is a copy of its content (swaps and copy-on-write are memcpy).
// - Normal, heavy-tailed, denormal, constant and zero tokens come back within the bound, normal ones
//   with no more noise than codes of so many bits make.
// - A slab of ones reads as NaN, and a token with a NaN spoils no other.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <quire/kv_format/kv_format.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

/// bound: largest error of a value over the largest magnitude among those it shares a scale with;
/// floor: the same in absolute terms, where the format's scales underflow.
struct Case {
  const KvCodec* codec;
  double bits;
  double bound;
  double floor = 1e-37;

  double least_noise =
      0;  // where the bits go to outliers, which normal tokens have not, or to other layers

  /// Largest error of normal tokens over the tokens, root mean squares: little more than codes of so many
  /// bits with a range of their own come to.
  [[nodiscard]] double noise() const {
    const double codes = bits < 3.2   ? 0.45
                         : bits < 4.2 ? 0.22
                         : bits < 8   ? 0.125
                         : bits < 16  ? 0.06
                                      : 0.002;
    return std::max(codes, least_noise);
  }
};
template <class F>
Case of(double bits, double bound, double floor = 1e-37, double least_noise = 0) {
  return {&codec_of<F>(), bits, bound, floor, least_noise};
}
void PrintTo(const Case& c, std::ostream* out) { *out << c.codec->name; }

constexpr std::size_t tokens = 32, dim = 64;

class KvFormatConformance : public ::testing::TestWithParam<Case> {
 public:
  static const SideCodec& side(int which) {
    return which == 0 ? GetParam().codec->keys : GetParam().codec->values;
  }
  /// What a side that is fitted beforehand finds in these tokens; null for the others.
  static const float* fit(const SideCodec& s, const std::vector<float>& rows,
                          std::vector<float>& memory) {
    if (s.fit == nullptr) return nullptr;
    memory.resize(s.fit_floats(dim));
    s.fit(rows.data(), tokens, dim, memory.data());
    return memory.data();
  }
  /// Stores tokens in a scrambled order, or all together.
  static void write(const SideCodec& s, std::byte* slab, const std::vector<float>& rows,
                    const float* fitted) {
    if (s.seal != nullptr) return s.seal(slab, tokens, dim, rows.data());
    for (std::size_t i = 0; i < tokens; ++i) {
      const std::size_t slot = (i * 13 + 5) % tokens;
      s.write(fitted, slab, tokens, dim, slot, rows.data() + slot * dim);
    }
  }
  static std::vector<float> read(const SideCodec& s, const std::byte* slab, const float* fitted) {
    std::vector<float> rows(tokens * dim);
    for (std::size_t t = 0; t < tokens; ++t) {
      s.read(fitted, slab, tokens, dim, t, rows.data() + t * dim);
      if (s.from_basis != nullptr) s.from_basis(rows.data() + t * dim, dim);
    }
    return rows;
  }
};

TEST_P(KvFormatConformance, PoolCostsThePublishedBitsAValue) {
  model::Shape shape;
  shape.layers = 2;
  shape.kv_heads = 3;
  shape.head_dim = dim;
  const Arena<Packed> arena(shape, 5, tokens, *GetParam().codec);
  const double values = 2 * 2 * 3 * dim, slabs = 2 * 2 * 3;
  const auto bytes = static_cast<double>(arena.block_bytes()) / tokens;
  EXPECT_GE(bytes + 1e-9, values * GetParam().bits / 8)
      << "slab_bytes() is less than token_bytes() a token";
  EXPECT_LT(bytes, values * GetParam().bits / 8 + slabs * 64 / tokens);
  EXPECT_EQ(arena.block_bytes() % 64, 0u);
}

TEST_P(KvFormatConformance, SlotsKeepTheirTokensWithinTheBound) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (int which = 0; which < 2; ++which) {
    const SideCodec& s = side(which);
    const std::size_t bytes = s.slab_bytes(tokens, dim);
    for (const char* kind : {"normal", "heavy", "denormal", "constant", "zero"}) {
      std::vector<float> rows(tokens * dim);
      Rng rng(7);
      for (float& x : rows) {
        const double n = rng.normal();
        if (kind[0] == 'n') x = static_cast<float>(n);
        if (kind[0] == 'h') x = static_cast<float>(n / (0.05 + std::abs(rng.normal())));
        if (kind[0] == 'd') x = tiny * static_cast<float>(std::round(1000 * n));
        if (kind[0] == 'c') x = -0.75f;
      }
      AlignedArray<std::byte> memory(bytes + 128), copy(bytes);
      std::memset(memory.data(), 0x5a, bytes + 128);
      std::byte* slab = memory.data() + 64;
      std::vector<float> numbers;
      const float* fitted = fit(s, rows, numbers);
      write(s, slab, rows, fitted);
      const std::vector<float> got = read(s, slab, fitted);
      std::memcpy(copy.data(), slab, bytes);
      ASSERT_TRUE(read(s, copy.data(), fitted) == got)
          << "load() reads what lies outside of the slab";
      if (kind[0] == 'n') {
        double wrong = 0, all = 0;
        for (std::size_t i = 0; i < rows.size(); ++i) {
          wrong += std::pow(got[i] - rows[i], 2);
          all += std::pow(rows[i], 2);
        }
        // 1 is what zeros in place of the tokens would give
        EXPECT_LT(std::sqrt(wrong / all), GetParam().noise())
            << (which == 0 ? "keys" : "values") << ": tokens that were stored come back otherwise";
      }
      float most = 0;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (s.seal == nullptr && s.fit == nullptr && i % dim == 0) {
          most = blockwise::largest(rows.data() + i, dim);
        } else if (i == 0) {
          most = blockwise::largest(rows.data(), rows.size());
        }
        ASSERT_LE(std::abs(got[i] - rows[i]),
                  GetParam().bound * static_cast<double>(most) + GetParam().floor)
            << kind << " slot " << i / dim << " value " << rows[i];
      }
      for (std::size_t i = 0; i < 64; ++i) {
        ASSERT_EQ(memory[i], std::byte{0x5a}) << "store() writes before the slab";
        ASSERT_EQ(memory[64 + bytes + i], std::byte{0x5a})
            << "store() writes past slab_bytes(), at byte " << bytes + i;
      }
    }
  }
}

TEST_P(KvFormatConformance, OnesReadAsNaNAndANaNSpoilsItsTokenAlone) {
  for (int which = 0; which < 2; ++which) {
    const SideCodec& s = side(which);
    AlignedArray<std::byte> slab(s.slab_bytes(tokens, dim));
    std::memset(slab.data(), 0xff, slab.size());
    std::vector<float> rows(tokens * dim), numbers;
    std::iota(rows.begin(), rows.end(), 1.0f);
    const float* fitted = fit(s, rows, numbers);
    for (const float x : read(s, slab.data(), fitted)) {
      ASSERT_TRUE(std::isnan(x)) << "a slab whose bytes are all 0xff, which is poison, reads as "
                                 << x;
    }
    if (s.store == nullptr) continue;
    write(s, slab.data(), rows, fitted);
    const std::vector<float> before = read(s, slab.data(), fitted);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> token = random_token(dim, 3);
      token[17] = bad;
      s.write(fitted, slab.data(), tokens, dim, 9, token.data());
      const std::vector<float> after = read(s, slab.data(), fitted);
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (i / dim == 9) continue;
        ASSERT_EQ(after[i], before[i]);
      }
      EXPECT_TRUE(std::isinf(bad) || std::isnan(after[9 * dim + 17]));
    }
  }
}

[[maybe_unused]] auto house() {
  return ::testing::Values(
      of<Fp32>(32, 0), of<kv_format::Bf16>(16, 0x1p-8), of<kv_format::Fp16>(16, 0x1p-11, 3e-8),
      of<Int8PerTokenHead>(8 + 32.0 / dim, 0.00395), of<Fp8E4m3>(8, 0x1p-4, 0x1p-10),
      of<Fp8E5m2>(8, 0x1p-3, 0x1p-17), of<Fp8PerTokenHead>(8 + 32.0 / dim, 0x1p-4),
      of<Int4Grouped<32>>(5, 0.0671, 1e-6), of<Int4Grouped<64>>(4.5, 0.0671, 1e-6),
      of<Int4PerTokenHead>(4 + 32.0 / dim, 0.0671, 1e-6), of<Int3PerTokenHead>(3.5, 0.144, 1e-6),
      of<Int2>(3, 0.335, 1e-6), of<Q80>(8.5, 0.0045, 4e-6), of<Q40>(4.5, 0.13, 1e-6),
      of<Nf4>(4.5, 0.153), of<Mxfp8>(8.25, 0x1p-3), of<Mxfp4>(4.25, 0.2501),
      of<Nvfp4>(4.5, 0.24, 0.006), of<Nvfp44over6>(4.5, 0.3, 0.006),
      of<ChannelGroups<4, 32>>(5, 0.0671, 1e-6), of<ChannelGroups<2, 32>>(3, 0.335, 1e-6),
      of<Kivi<4>>(5, 0.0671, 1e-6), of<Kivi<2, 32, 32>>(3, 0.335, 1e-6),
      of<BeforeRotation<ChannelGroups<2, 32>>>(3, 0.335, 1e-6),
      of<KeysValues<Int8PerTokenHead, Int4PerTokenHead>>(6.5, 0.0671, 1e-6),
      of<SkipLayers<Int4PerTokenHead, kv_format::Bf16, 1, 0>>(10.25, 0.0671, 1e-6, 0.125),
      of<Rotated<Int4PerTokenHead>>(4.5, 0.6, 1e-6), of<Turboquant<4>>(4.25, 0.8, 1e-6),
      of<Turboquant<3>>(3.25, 1.2, 1e-6), of<Turboquant<2>>(2.25, 2.0, 1e-6),
      of<Fp8PerHead<ScaleFrom::min_max>>(8, 0x1p-4), of<Fp8PerHead<ScaleFrom::mse>>(8, 0.9),
      of<Fp8PerTensor<ScaleFrom::min_max>>(8, 0x1p-4),
      of<Fp8PerTensor<ScaleFrom::min_max, E5m2>>(8, 0x1p-3),
      of<Fp8PerHead<ScaleFrom::min_max, E5m2>>(8, 0x1p-3),
      of<QserveKv4>(4 + 32.0 / dim, 0.0671, 1e-6), of<Kvquant<3>>(3.625, 0.5, 1e-6),
      of<Kvquant<2>>(2.625, 0.7, 1e-6), of<Gear<2>>(4.375, 0.4, 1e-6, 0.35),
      of<Gear<4>>(6.375, 0.08, 1e-6));
}
#ifdef QUIRE_OWN_TYPE
// tests/conforms: what it says it costs, the noise of so many bits, and no error above the largest number
auto chosen() {
  const double bytes = kv_format::token_bytes<QUIRE_OWN_TYPE>(1, 1, dim);
  return ::testing::Values(of<QUIRE_OWN_TYPE>(8 * bytes / (2.0 * dim), 1.0, 1e-6));
}
#else
auto chosen() { return house(); }
#endif
INSTANTIATE_TEST_SUITE_P(All, KvFormatConformance, chosen(),
                         [](const auto& info) { return std::string(info.param.codec->name); });

}  // namespace
}  // namespace quire::testing
