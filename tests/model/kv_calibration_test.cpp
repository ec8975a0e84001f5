#include <quire/model/kv_calibration.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/load.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/fp8_per_head.hpp>
#include <quire/kv_format/kvquant.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::model {
namespace {

using namespace quire::kv_format;
using Model = Decoder<weight_format::Fp32>;

const Model& decoder() {
  static ThreadPool threads(1);
  static const auto checkpoint =
      checkpoint::open_checkpoint(std::string(QUIRE_SOURCE_DIR) + "/tests/golden/models/llama");
  static const Model model(checkpoint.config, checkpoint.tensors, threads);
  return model;
}
std::vector<std::vector<TokenId>> texts(std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::vector<TokenId>> out(6);
  for (auto& text : out) {
    for (int i = 0; i < 60; ++i) text.push_back(static_cast<TokenId>(rng.below(101)));
  }
  return out;
}

/// Logits of a text read token by token, with keys and values in a format.
std::vector<float> logits(const KvCodec& codec, const std::vector<TokenId>& text,
                          std::shared_ptr<const Calibration> fitted) {
  ThreadPool threads(1);
  Arena<Packed> arena(decoder().config().shape, 3, 32, codec);
  if (fitted != nullptr) arena.calibrate(std::move(fitted));
  arena.poison();
  const std::vector<BlockId> table{{0}, {1}, {2}};
  Activations memory;
  std::vector<float> out(text.size() * decoder().logits_stride());
  for (std::size_t t = 0; t < text.size(); ++t) {
    Batch batch;
    batch.add(std::span(text).subspan(t, 1), static_cast<std::int64_t>(t), table);
    batch.logits_rows.push_back(0);
    decoder().forward(batch, arena, memory, threads, out.data() + t * decoder().logits_stride());
  }
  return out;
}
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i] - b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / size);
}

TEST(KvCalibration, FittedFormatsAreNearerToTheModel) {
  ThreadPool threads(2);
  const auto known = texts(1);
  const std::vector<TokenId> text = texts(2).front();
  const std::vector<float> exact = logits(codec_of<Fp32>(), text, nullptr);
  for (const KvCodec* codec : {&codec_of<Kvquant<4>>(), &codec_of<Fp8PerHead<ScaleFrom::mse>>()}) {
    SCOPED_TRACE(codec->name);
    const auto fitted = calibrate_kv(decoder(), known, *codec, threads);
    EXPECT_EQ(fitted->format, codec->name);
    const double with = distance(logits(*codec, text, fitted), exact);
    const double without = distance(logits(*codec, text, nullptr), exact);
    EXPECT_LT(with, codec->keys.before_rotation ? 0.15 : 0.03);
    if (codec->keys.before_rotation) {
      EXPECT_LT(with, without);
    }
    // The same numbers from any number of threads.
    ThreadPool one(1);
    EXPECT_EQ(calibrate_kv(decoder(), known, *codec, one)->keys, fitted->keys);
  }
}

TEST(KvCalibration, ScalesAreThoseOfTheLargestKeysAndValues) {
  ThreadPool threads(1);
  const std::vector<std::vector<TokenId>> one{texts(3).front()};
  const auto fitted =
      calibrate_kv(decoder(), one, codec_of<Fp8PerHead<ScaleFrom::min_max>>(), threads);
  // In fp32 through an arena of our own.
  Arena<Packed> arena(decoder().config().shape, 2, 32, codec_of<Fp32>());
  const std::vector<BlockId> table{{1}, {0}};
  Batch batch;
  batch.add(one[0], 0, table);
  batch.logits_rows.push_back(0);
  Activations memory;
  std::vector<float> out(decoder().logits_stride());
  decoder().forward(batch, arena, memory, threads, out.data());
  const auto& shape = decoder().config().shape;
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  for (std::size_t l = 0; l < static_cast<std::size_t>(shape.layers); ++l) {
    for (std::size_t h = 0; h < static_cast<std::size_t>(shape.kv_heads); ++h) {
      float keys = 0, values = 0;
      std::vector<float> row(dim);
      for (std::size_t t = 0; t < one[0].size(); ++t) {
        Fp32::load(arena.layer(l).keys(table[t / 32], h), 32, dim, t % 32, row.data());
        for (const float x : row) keys = std::max(keys, std::abs(x));
        Fp32::load(arena.layer(l).values(table[t / 32], h), 32, dim, t % 32, row.data());
        for (const float x : row) values = std::max(values, std::abs(x));
      }
      EXPECT_EQ(fitted->keys[l][h], keys / 448);
      EXPECT_EQ(fitted->values[l][h], values / 448);
    }
  }
  EXPECT_THROW((void)calibrate_kv(decoder(), one, codec_of<Fp32>(), threads), Error);
  EXPECT_THROW((void)calibrate_kv(decoder(), std::vector<std::vector<TokenId>>{},
                                  codec_of<Kvquant<3>>(), threads),
               Error);
}

}  // namespace
}  // namespace quire::model
