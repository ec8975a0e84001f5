// Attention through packed formats: what the kernel makes of a pool against a plain model of each
// format, in double.
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/paged.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/kv_format.hpp>
#include <quire/model/rope.hpp>

namespace quire::attention {
namespace {

using namespace quire::kv_format;
constexpr std::size_t dim = 64, heads = 4, kv_heads = 2, block = 32;

/// Keys, values and queries of one sequence; keys have been turned by rotary embedding.
struct Data {
  std::size_t tokens;
  std::vector<float> keys, values, queries;  // \shape (tokens, kv_heads or heads, dim)
  std::vector<float> rotations;              // \shape (tokens, dim)

  explicit Data(std::size_t n) : tokens(n) {
    Rng rng(n);
    for (auto* v : {&keys, &values}) {
      for (std::size_t i = 0; i < n * kv_heads * dim; ++i) {
        v->push_back(static_cast<float>(rng.normal()) * (i % dim == 5 ? 4.0f : 1.0f));
      }
    }
    for (std::size_t i = 0; i < n * heads * dim; ++i) {
      queries.push_back(static_cast<float>(rng.normal()));
    }
    const model::Rope rope(dim, 1e4, {});
    rotations.resize(n * dim);
    for (std::size_t p = 0; p < n; ++p) {
      rope.angles(static_cast<std::int64_t>(p), &rotations[p * dim]);
    }
  }
  [[nodiscard]] const float* key(std::size_t p, std::size_t h) const {
    return &keys[(p * kv_heads + h) * dim];
  }
  [[nodiscard]] const float* value(std::size_t p, std::size_t h) const {
    return &values[(p * kv_heads + h) * dim];
  }
};

/// Writes tokens in the given steps into a poisoned pool and attends to them; gives the last row of
/// each step, and all rows where somebody asks. \shape result (steps)(heads, dim); every (tokens, heads, dim)
std::vector<std::vector<float>> run(const KvCodec& codec, const Data& d,
                                    const std::vector<std::size_t>& steps,
                                    std::shared_ptr<const Calibration> fitted = nullptr,
                                    std::size_t* open_bytes = nullptr,
                                    std::vector<float>* every = nullptr) {
  model::Shape shape;
  shape.layers = 1;
  shape.kv_heads = kv_heads;
  shape.head_dim = dim;
  const std::size_t blocks = (d.tokens + block - 1) / block;
  Arena<Packed> arena(shape, static_cast<std::int64_t>(blocks + 2), block, codec);
  arena.poison();
  arena.calibrate(std::move(fitted));
  std::vector<BlockId> table;
  for (std::size_t b = 0; b < blocks; ++b) {
    table.push_back({static_cast<std::uint32_t>(blocks + 1 - b)});
  }
  ThreadPool one(1);
  Workspace workspace;
  std::vector<std::vector<float>> results;
  std::size_t at = 0;
  for (const std::size_t rows : steps) {
    const SequenceRows s{0, rows, static_cast<std::int64_t>(at), table};
    KvView<std::byte> cache = arena.layer(0);
    cache.rotations = d.rotations.data();
    arena.begin({&s, 1});
    write_kv<Packed>(cache, {&s, 1}, d.key(at, 0), d.value(at, 0), kv_heads * dim, one);
    std::vector<float> out(rows * heads * dim);
    paged<Packed>(cache.readable(),
                  {&d.queries[at * heads * dim],
                   heads * dim,
                   out.data(),
                   heads * dim,
                   heads,
                   0.125f,
                   {&s, 1}},
                  Causal{}, workspace, one);
    arena.end({&s, 1}, d.rotations.data());
    at += rows;
    results.emplace_back(out.end() - heads * dim, out.end());
    if (every != nullptr) every->insert(every->end(), out.begin(), out.end());
  }
  if (open_bytes != nullptr) *open_bytes = arena.open_bytes();
  return results;
}

/// What a query at position p attends to, by a plain model: key(j, h) and value(j, h) as stored.
template <class Key, class Value>
std::vector<double> expected(const Data& d, std::size_t p, Key&& key, Value&& value) {
  std::vector<double> out(heads * dim, 0.0);
  for (std::size_t h = 0; h < heads; ++h) {
    const float* q = &d.queries[(p * heads + h) * dim];
    const std::size_t kv = h * kv_heads / heads;
    std::vector<double> weight;
    double most = -1e300, total = 0;
    for (std::size_t j = 0; j <= p; ++j) {
      const std::vector<float> k = key(j, kv);
      double score = 0;
      for (std::size_t i = 0; i < dim; ++i) {
        score += static_cast<double>(q[i]) * static_cast<double>(k[i]);
      }
      weight.push_back(score * 0.125);
      most = std::max(most, weight.back());
    }
    for (double& w : weight) total += w = std::exp(w - most);
    for (std::size_t j = 0; j <= p; ++j) {
      const std::vector<float> v = value(j, kv);
      for (std::size_t i = 0; i < dim; ++i) {
        out[h * dim + i] += weight[j] / total * static_cast<double>(v[i]);
      }
    }
  }
  return out;
}

void expect_near(const std::vector<float>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-3) << i;
}

/// One token through a side that packs tokens one by one, in the model's own basis.
std::vector<float> through(const SideCodec& side, const float* token) {
  AlignedArray<std::byte> slab(side.slab_bytes(block, dim));
  std::vector<float> out(dim);
  side.store(slab.data(), block, dim, 3, token);
  side.load(slab.data(), block, dim, 3, out.data());
  if (side.from_basis != nullptr) side.from_basis(out.data(), dim);
  return out;
}

std::vector<std::size_t> ones(std::size_t n) { return std::vector<std::size_t>(n, 1); }

TEST(Packed, TokenFormatsAttendToWhatTheyStore) {
  const Data d(83);
  for (const KvCodec* codec :
       {&codec_of<Fp32>(), &codec_of<Int8PerTokenHead>(), &codec_of<Int4Grouped<32>>(),
        &codec_of<Mxfp4>(), &codec_of<KeysValues<Int8PerTokenHead, Nvfp4>>(),
        &codec_of<Rotated<Int4PerTokenHead>>(), &codec_of<Turboquant<3>>()}) {
    SCOPED_TRACE(codec->name);
    const auto key = [&](std::size_t j, std::size_t h) {
      return through(codec->keys, d.key(j, h));
    };
    const auto value = [&](std::size_t j, std::size_t h) {
      return through(codec->values, d.value(j, h));
    };
    const auto got = run(*codec, d, ones(83));
    for (const std::size_t p :
         {std::size_t{0}, std::size_t{31}, std::size_t{32}, std::size_t{82}}) {
      expect_near(got[p], expected(d, p, key, value));
    }
    // how a prompt is cut into steps changes nothing
    EXPECT_EQ(run(*codec, d, {50, 32, 1}).back(), got.back());
  }
}

// Bit for bit, rows in the middle of a step too: more keys lie beside theirs than they see.
TEST(Packed, RowsDoNotDependOnWhatIsComputedBesideThem) {
  const Data d(128);
  for (const KvCodec* codec :
       {&codec_of<Int8PerTokenHead>(), &codec_of<Int4PerTokenHead>(), &codec_of<Int4Grouped<32>>(),
        &codec_of<Q80>(), &codec_of<Q40>(), &codec_of<Fp8PerTokenHead>(), &codec_of<Mxfp4>(),
        &codec_of<KeysValues<Int8PerTokenHead, Int4Grouped<64>>>()}) {
    SCOPED_TRACE(codec->name);
    std::vector<float> alone, together, parts;
    run(*codec, d, ones(128), nullptr, nullptr, &alone);
    run(*codec, d, {128}, nullptr, nullptr, &together);
    run(*codec, d, {5, 60, 63}, nullptr, nullptr, &parts);
    EXPECT_EQ(alone, together);
    EXPECT_EQ(alone, parts);
  }
}

/// KIVI from its paper: keys in groups of 32 tokens a channel once `window` of them are complete,
/// values in groups of 32 channels once `window` newer ones have come; fp16 until then.
TEST(Packed, KiviKeepsItsWindowAndPacksTheRest) {
  const std::size_t n = 150;
  const Data d(n);
  using Block = blockwise::Asymmetric<2, 32>;
  const auto rounded = [](const float* x) {
    std::vector<float> out(dim);
    for (std::size_t i = 0; i < dim; ++i) out[i] = to_float(to_fp16(x[i]));
    return out;
  };
  for (const std::size_t window : {std::size_t{32}, std::size_t{64}}) {
    const KvCodec& codec = window == 32 ? codec_of<Kivi<2, 32, 32>>() : codec_of<Kivi<2, 32, 64>>();
    std::size_t open = 0;
    const auto got = run(codec, d, ones(n), nullptr, &open);
    // The window and the block that is being filled, keys and values in fp16: what planners count.
    EXPECT_EQ(open, (window + block) * dim * kv_heads * 2 * sizeof(quire::Fp16));
    for (const std::size_t p : {std::size_t{31}, std::size_t{32}, std::size_t{63}, std::size_t{64},
                                std::size_t{97}, std::size_t{149}}) {
      const auto key = [&](std::size_t j, std::size_t h) {
        std::vector<float> out = rounded(d.key(j, h));
        if (j >= p / window * window) return out;
        for (std::size_t c = 0; c < dim; ++c) {
          float channel[32], back[32];
          std::byte bytes[Block::bytes];
          for (std::size_t t = 0; t < 32; ++t) {
            channel[t] = to_float(to_fp16(d.key(j / 32 * 32 + t, h)[c]));
          }
          Block::encode(channel, bytes);
          Block::decode(bytes, back);
          out[c] = back[j % 32];
        }
        return out;
      };
      const auto value = [&](std::size_t j, std::size_t h) {
        std::vector<float> out = rounded(d.value(j, h));
        if (j + window > p) return out;
        for (std::size_t c = 0; c < dim; c += 32) {
          std::byte bytes[Block::bytes];
          Block::encode(d.value(j, h) + c, bytes);
          Block::decode(bytes, out.data() + c);
        }
        return out;
      };
      SCOPED_TRACE("window " + std::to_string(window) + " position " + std::to_string(p));
      expect_near(got[p], expected(d, p, key, value));
    }
    // a prompt that comes in one step is read as it was
    const auto prompt = run(codec, d, {n});
    expect_near(prompt.back(),
                expected(
                    d, n - 1, [&](std::size_t j, std::size_t h) { return rounded(d.key(j, h)); },
                    [&](std::size_t j, std::size_t h) { return rounded(d.value(j, h)); }));
  }
}

TEST(Packed, FittedFormatsTakeTheNumbersOfTheirHead) {
  const std::size_t n = 70;
  Data d(n);
  for (std::size_t i = 0; i < d.values.size(); ++i) {  // heads differ
    if (i / dim % kv_heads == 1) d.values[i] *= 7;
  }
  for (const KvCodec* codec :
       {&codec_of<Fp8PerHead<ScaleFrom::mse>>(), &codec_of<QserveKv4>(), &codec_of<Kvquant<3>>()}) {
    SCOPED_TRACE(codec->name);
    EXPECT_THROW(run(*codec, d, ones(1)), Error);
    auto fitted = std::make_shared<Calibration>();
    fitted->format = codec->name;
    fitted->keys.resize(1);
    fitted->values.resize(1);
    // Tokens as a side takes them.
    const auto taken = [&](bool keys, std::size_t j, std::size_t h) {
      const float* from = keys ? d.key(j, h) : d.value(j, h);
      std::vector<float> x(from, from + dim);
      if (keys && codec->keys.before_rotation) {
        turn(&d.rotations[j * dim], dim, true, x.data());
      }
      return x;
    };
    for (const bool keys : {true, false}) {
      const SideCodec& side = keys ? codec->keys : codec->values;
      if (side.fit == nullptr) continue;
      const std::size_t floats = side.fit_floats(dim);
      std::vector<float>& to = keys ? fitted->keys[0] : fitted->values[0];
      to.resize(kv_heads * floats);
      for (std::size_t h = 0; h < kv_heads; ++h) {
        std::vector<float> rows;
        for (std::size_t j = 0; j < n; ++j) {
          const std::vector<float> x = taken(keys, j, h);
          rows.insert(rows.end(), x.begin(), x.end());
        }
        side.fit(rows.data(), n, dim, to.data() + h * floats);
      }
    }
    const auto stored = [&](bool keys, std::size_t j, std::size_t h) {
      const SideCodec& side = keys ? codec->keys : codec->values;
      const std::vector<float>& all = keys ? fitted->keys[0] : fitted->values[0];
      const float* numbers = side.fit == nullptr ? nullptr : all.data() + h * side.fit_floats(dim);
      AlignedArray<std::byte> slab(side.slab_bytes(block, dim));
      std::vector<float> x = taken(keys, j, h);
      side.write(numbers, slab.data(), block, dim, 3, x.data());
      side.read(numbers, slab.data(), block, dim, 3, x.data());
      if (keys && side.before_rotation) turn(&d.rotations[j * dim], dim, false, x.data());
      return x;
    };
    const auto got = run(*codec, d, ones(n), fitted);
    for (const std::size_t p : {std::size_t{0}, std::size_t{33}, n - 1}) {
      expect_near(got[p],
                  expected(
                      d, p, [&](std::size_t j, std::size_t h) { return stored(true, j, h); },
                      [&](std::size_t j, std::size_t h) { return stored(false, j, h); }));
    }
    EXPECT_EQ(run(*codec, d, {50, n - 50}, fitted).back(), got.back());
    fitted->format = "another";
    EXPECT_THROW(run(*codec, d, ones(1), fitted), Error);
  }
  auto unwanted = std::make_shared<Calibration>();
  EXPECT_THROW(run(codec_of<Fp32>(), d, ones(1), unwanted), Error);
}

TEST(Packed, GearPacksBlocksWhenTheyAreComplete) {
  const std::size_t n = 70;
  const Data d(n);
  const KvCodec& codec = codec_of<Gear<4>>();
  const auto got = run(codec, d, ones(n));
  const auto stored = [&](bool keys, std::size_t j, std::size_t h) {
    std::vector<float> rows;
    for (std::size_t t = j / block * block; t < j / block * block + block; ++t) {
      const float* x = t >= n ? d.key(0, h) : keys ? d.key(t, h) : d.value(t, h);
      for (std::size_t i = 0; i < dim; ++i) rows.push_back(to_float(to_fp16(x[i])));
    }
    std::vector<float> out(rows.begin() + static_cast<std::ptrdiff_t>(j % block * dim),
                           rows.begin() + static_cast<std::ptrdiff_t>((j % block + 1) * dim));
    if (j >= n / block * block) return out;
    const SideCodec& side = keys ? codec.keys : codec.values;
    AlignedArray<std::byte> slab(side.slab_bytes(block, dim));
    side.seal(slab.data(), block, dim, rows.data());
    side.load(slab.data(), block, dim, j % block, out.data());
    return out;
  };
  expect_near(got[n - 1],
              expected(
                  d, n - 1, [&](std::size_t j, std::size_t h) { return stored(true, j, h); },
                  [&](std::size_t j, std::size_t h) { return stored(false, j, h); }));
}

TEST(Packed, KeysBeforeRotationArePackedUnturnedAndReadTurned) {
  const std::size_t n = 70;
  const Data d(n);
  using F = BeforeRotation<KeysValues<ChannelGroups<4, 32>, Fp32>>;
  using Block = blockwise::Asymmetric<4, 32>;
  const auto got = run(codec_of<F>(), d, ones(n));
  const auto unturned = [&](std::size_t j, std::size_t h) {
    std::vector<float> x(dim);
    for (std::size_t i = 0; i < dim; ++i) x[i] = to_float(to_fp16(d.key(j, h)[i]));
    turn(&d.rotations[j * dim], dim, true, x.data());
    return x;
  };
  const std::size_t p = n - 1;
  const auto key = [&](std::size_t j, std::size_t h) {
    std::vector<float> out(dim);
    if (j >= p / 32 * 32) {
      for (std::size_t i = 0; i < dim; ++i) out[i] = to_float(to_fp16(d.key(j, h)[i]));
      return out;
    }
    for (std::size_t c = 0; c < dim; ++c) {
      float channel[32], back[32];
      std::byte bytes[Block::bytes];
      for (std::size_t t = 0; t < 32; ++t) channel[t] = unturned(j / 32 * 32 + t, h)[c];
      Block::encode(channel, bytes);
      Block::decode(bytes, back);
      out[c] = back[j % 32];
    }
    turn(&d.rotations[j * dim], dim, false, out.data());
    return out;
  };
  const auto value = [&](std::size_t j, std::size_t h) {
    return std::vector<float>(d.value(j, h), d.value(j, h) + dim);
  };
  expect_near(got[p], expected(d, p, key, value));
}

TEST(Packed, OpenBlocksFollowCopiesAndSwaps) {
  model::Shape shape;
  shape.layers = 1;
  shape.kv_heads = 1;
  shape.head_dim = dim;
  Arena<Packed> arena(shape, 4, block, codec_of<Kivi<2, 32, 32>>());
  OpenBlocks& open = arena.open_blocks();
  open.open({1});
  open.row({1}, 0, OpenBlocks::keys, 0, 7)[3] = to_fp16(5.0f);
  copy_block(arena, {1}, arena, {2});
  EXPECT_EQ(to_float(open.row({2}, 0, OpenBlocks::keys, 0, 7)[3]), 5.0f);
  open.swapped_out({2}, {40});
  EXPECT_FALSE(open.is_open({2}));
  open.moved({40}, {41});
  open.swapped_in({41}, {3});
  EXPECT_EQ(to_float(open.row({3}, 0, OpenBlocks::keys, 0, 7)[3]), 5.0f);
  open.swapped_in({50}, {3});  // a packed block came
  EXPECT_FALSE(open.is_open({3}));
}

TEST(Packed, SizesThatDoNotSuitAFormatAreRefusedWithASentence) {
  model::Shape shape;
  shape.layers = 1;
  shape.kv_heads = 1;
  shape.head_dim = 48;
  EXPECT_THROW((Arena<Packed>(shape, 2, 32, codec_of<Int4Grouped<32>>())), Error);
  EXPECT_THROW((Arena<Packed>(shape, 2, 32, codec_of<Rotated<Int4PerTokenHead>>())), Error);
  shape.head_dim = 64;
  EXPECT_THROW((Arena<Packed>(shape, 2, 16, codec_of<Kivi<2>>())), Error);
  EXPECT_THROW((Arena<Packed>(shape, 2, 64, codec_of<Kivi<2, 32, 32>>())), Error);
  EXPECT_THROW((Arena<Packed>(shape, 2, 32, codec_of<Int4Grouped<128>>())), Error);
}

}  // namespace
}  // namespace quire::attention
