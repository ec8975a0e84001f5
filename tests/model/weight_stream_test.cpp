#include <quire/model/weight_stream.hpp>

#include <array>
#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/model/weight_image.hpp>
#include <quire/weight_format/q8_0.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"

namespace quire::model {
namespace {

using ::testing::HasSubstr;

/// Layers of 100 bytes each, the last 30 of them asked for by some tokens alone, and what a stream did.
class WeightStreamTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::vector<WeightStream::Layer> layers(std::size_t count) {
    std::vector<WeightStream::Layer> out;
    for (std::size_t l = 0; l < count; ++l) {
      const std::span<const std::byte> all(memory_.data() + 100 * l, 100);
      out.push_back({{all.subspan(0, 50), all.subspan(50, 20)}, {all.subspan(70)}});
    }
    return out;
  }
  [[nodiscard]] WeightStream::Advise log() {
    return [this](WeightStream::Advice advice, std::span<const std::byte> part) {
      const std::lock_guard lock(mutex_);
      const auto at = static_cast<std::size_t>(part.data() - memory_.data());
      log_ += (advice == WeightStream::Advice::read ? " +" : " -") + std::to_string(at);
    };
  }
  [[nodiscard]] std::string took(WeightStream& stream) {
    stream.settle();
    const std::lock_guard lock(mutex_);
    return std::exchange(log_, {});
  }
  std::array<std::byte, 1000> memory_{};
  std::mutex mutex_;
  std::string log_;
};

/// The next layer is read while one is computed, the one before goes; those that fit stay.
TEST_F(WeightStreamTest, ReadsAheadAndDropsBehind) {
  WeightStream stream(layers(5), 50, 50 + 2 * 100 + 100, log());
  ASSERT_EQ(stream.kept(), 1u);
  for (int pass = 0; pass < 2; ++pass) {
    SCOPED_TRACE(pass);
    stream.begin(0);
    // what follows was fetched in the pass before, whose last layer goes
    EXPECT_EQ(took(stream), pass == 0 ? " +100 +150" : " -400 -450 -470");
    stream.begin(0);  // the same again: as with several calls a layer
    EXPECT_EQ(took(stream), "");
    stream.begin(1);
    EXPECT_EQ(took(stream), " +200 +250");
    stream.begin(2);
    EXPECT_EQ(took(stream), " -100 -150 -170 +300 +350");
    stream.begin(3);
    EXPECT_EQ(took(stream), " -200 -250 -270 +400 +450");
    stream.begin(4);
    EXPECT_EQ(took(stream), " -300 -350 -370 +100 +150");
  }
}

TEST_F(WeightStreamTest, WhatFitsStays) {
  WeightStream stream(layers(5), 50, 550, log());
  EXPECT_EQ(stream.kept(), 5u);
  for (std::size_t l = 0; l < 5; ++l) stream.begin(l);
  EXPECT_EQ(took(stream), "");
  EXPECT_EQ(WeightStream(layers(5), 50, 549, log()).kept(), 2u);
  EXPECT_EQ(WeightStream(layers(5), 50, 250, log()).kept(), 0u);
  EXPECT_EQ(WeightStream(layers(5), 0, 499, log()).kept(), 2u);
}

TEST_F(WeightStreamTest, TooLittleIsAnError) {
  try {
    const WeightStream stream(layers(5), 50, 249, log());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "resident_weights: two layers of this model do not fit beside its embedding in 249 "
        "bytes; expected at least 250 bytes");
  }
}

TEST(WeightStream, TakesMappedWeightsAlone) {
  const quire::testing::TempDir folder;
  const checkpoint::Checkpoint model = quire::testing::golden("mixtral");
  const auto& q8_0 = weight_format::codec_of<weight_format::Q80>();
  ThreadPool threads(1);
  const auto own = load_weights<weight_format::Packed>(model.config, model.tensors, threads, q8_0);
  try {
    (void)stream_of(own, 1 << 30);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the weights are in memory of this process"));
  }
  const std::string path = folder.path() / "image";
  save_weight_image<weight_format::Packed>(model, q8_0, path, threads);
  const checkpoint::Checkpoint image = quire::testing::opened(path);
  const auto mapped =
      load_weights<weight_format::Packed>(image.config, image.tensors, threads, q8_0);
  const auto layers = streamed_layers(mapped);
  ASSERT_EQ(layers.size(), mapped.layers.size());
  EXPECT_EQ(layers[0].always.size(), 3u);  // qkv, output, router
  EXPECT_EQ(layers[0].asked.size(), 2 * mapped.layers[0].experts.size());
  std::size_t all = 0;
  for (const auto& layer : layers) all += WeightStream::bytes_of(layer);
  EXPECT_EQ(stream_of(mapped, static_cast<std::int64_t>(mapped.bytes()))->kept(), layers.size());
  EXPECT_THROW((void)stream_of(mapped, static_cast<std::int64_t>(mapped.bytes()) - 1), Error);
  EXPECT_LT(all, mapped.bytes());
}

}  // namespace
}  // namespace quire::model
