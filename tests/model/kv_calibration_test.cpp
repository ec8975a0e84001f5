#include <quire/model/kv_calibration.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kv_format/fp8_per_head.hpp>
#include <quire/kv_format/fp8_per_tensor.hpp>
#include <quire/kv_format/kvquant.hpp>

namespace quire::model {
namespace {

using namespace quire::kv_format;
constexpr std::size_t dim = 8, heads = 2, layers = 3;

/// Key or value of a token, before rotary embedding: heads and layers differ.
float number(bool key, std::size_t layer, std::size_t head, TokenId token, std::size_t channel) {
  const auto size = static_cast<float>((1 + layer) * (1 + 3 * head)) * (key ? 1.0f : 10.0f);
  return size * std::sin(static_cast<float>(token) + static_cast<float>(channel));
}

/// What calibration asks of a decoder: it says what keys and values are, and predicts nothing.
class Stub {
 public:
  Stub() {
    config_.shape.layers = layers;
    config_.shape.kv_heads = heads;
    config_.shape.head_dim = dim;
  }
  [[nodiscard]] const checkpoint::ModelConfig& config() const { return config_; }
  [[nodiscard]] const Rope& rope() const { return rope_; }
  [[nodiscard]] std::size_t logits_stride() const { return 1; }
  void forward(const Batch& batch, Arena<Packed>& arena, Activations&, ThreadPool&, float*) const {
    std::vector<float> row(dim), angles(dim);
    for (std::size_t l = 0; l < layers; ++l) {
      const auto cache = arena.layer(l);
      for (std::size_t t = 0; t < batch.tokens.size(); ++t) {
        const std::size_t slot = t % cache.block_tokens;
        const BlockId block = batch.sequences[0].blocks[t / cache.block_tokens];
        for (std::size_t h = 0; h < heads; ++h) {
          for (std::size_t c = 0; c < dim; ++c) row[c] = number(true, l, h, batch.tokens[t], c);
          rope_.angles(static_cast<std::int64_t>(t), angles.data());
          rope_.rotate(angles.data(), row.data());
          Fp32::store(cache.keys(block, h), cache.block_tokens, dim, slot, row.data());
          for (std::size_t c = 0; c < dim; ++c) row[c] = number(false, l, h, batch.tokens[t], c);
          Fp32::store(cache.values(block, h), cache.block_tokens, dim, slot, row.data());
        }
      }
    }
  }

 private:
  checkpoint::ModelConfig config_;
  Rope rope_{dim, 1e4, {}};
};

std::vector<std::vector<TokenId>> texts() {
  std::vector<std::vector<TokenId>> out(3);
  for (std::size_t i = 0; i < 200; ++i) out[i % 3].push_back(static_cast<TokenId>(i * 7 % 101));
  return out;
}

TEST(KvCalibration, HandsEachHeadItsKeysAndValues) {
  ThreadPool threads(2), one(1);
  const KvCodec& codec = codec_of<Fp8PerHead<ScaleFrom::min_max>>();
  const auto fitted = calibrate_kv(Stub(), texts(), codec, threads);
  EXPECT_EQ(fitted->format, codec.name);
  check_calibration(codec, fitted.get(), layers, heads, dim);
  EXPECT_THROW(check_calibration(codec, fitted.get(), layers, heads + 1, dim), Error);
  EXPECT_EQ(calibrate_kv(Stub(), texts(), codec, one)->keys, fitted->keys);
  for (std::size_t l = 0; l < layers; ++l) {
    for (std::size_t h = 0; h < heads; ++h) {
      float most = 0;
      for (const auto& text : texts()) {
        for (const TokenId t : text) {
          for (std::size_t c = 0; c < dim; ++c) {
            most = std::max(most, std::abs(number(false, l, h, t, c)));
          }
        }
      }
      EXPECT_EQ(fitted->values[l][h], most / 448);
    }
  }
}

/// One scale for all heads of a layer, that of the largest.
TEST(KvCalibration, HandsALayersHeadsToASideThatAsksForThem) {
  ThreadPool threads(1);
  const auto heads_of =
      calibrate_kv(Stub(), texts(), codec_of<Fp8PerHead<ScaleFrom::min_max>>(), threads);
  const KvCodec& codec = codec_of<Fp8PerTensor<ScaleFrom::min_max>>();
  const auto fitted = calibrate_kv(Stub(), texts(), codec, threads);
  check_calibration(codec, fitted.get(), layers, heads, dim);
  for (std::size_t l = 0; l < layers; ++l) {
    for (const auto& [all, each] : {std::pair(&fitted->keys[l], &heads_of->keys[l]),
                                    std::pair(&fitted->values[l], &heads_of->values[l])}) {
      const float most = *std::max_element(each->begin(), each->end());
      EXPECT_LT(*std::min_element(each->begin(), each->end()), most);
      for (const float scale : *all) EXPECT_EQ(scale, most);
    }
  }
}

/// Keys that are stored before rotary embedding are turned back: the bounds of their channels are those of
/// what went into it.
TEST(KvCalibration, TurnsKeysBackWhereTheFormatStoresThemSo) {
  ThreadPool threads(1);
  const auto fitted = calibrate_kv(Stub(), texts(), codec_of<Kvquant<3>>(), threads);
  for (std::size_t l = 0; l < layers; ++l) {
    for (std::size_t h = 0; h < heads; ++h) {
      const std::size_t floats = Kvquant<3>::Keys::fit_floats(dim);
      const float* numbers = fitted->keys[l].data() + h * floats;
      const auto size = static_cast<float>((1 + l) * (1 + 3 * h));
      for (std::size_t c = 0; c < dim; ++c) {  // sines of 101 tokens fill [-1, 1]
        EXPECT_NEAR(numbers[c], 0, 0.05f * size);
        EXPECT_NEAR(numbers[dim + c], size, 0.05f * size);
      }
    }
  }
}

TEST(KvCalibration, RefusesFormatsThatAreNotFittedAndNoTexts) {
  ThreadPool threads(1);
  EXPECT_THROW((void)calibrate_kv(Stub(), texts(), codec_of<Fp32>(), threads), Error);
  EXPECT_THROW((void)calibrate_kv(Stub(), std::vector<std::vector<TokenId>>{},
                                  codec_of<Kvquant<3>>(), threads),
               Error);
}

}  // namespace
}  // namespace quire::model
