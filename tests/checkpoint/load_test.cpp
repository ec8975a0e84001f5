#include <quire/checkpoint/load.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/safetensors_writer.hpp>

#include "tests/common/temp_file.hpp"

namespace {

using quire::checkpoint::Checkpoint;
using quire::checkpoint::open_checkpoint;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

class LoadTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_);
    write("config.json", R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
      "vocab_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-6,
      "max_position_embeddings": 64, "eos_token_id": 2})");
    const std::vector<float> values = {1, 2};
    const std::int64_t shape[] = {2};
    const std::vector<quire::checkpoint::TensorView> tensors = {
        {"model.norm.weight", quire::checkpoint::DType::f32, shape,
         std::as_bytes(std::span(values))}};
    quire::checkpoint::safetensors::save(folder_ / "model.safetensors", tensors);
  }
  void write(const std::string& name, const std::string& text) const {
    directory_.write("tiny-llama/" + name, text);
  }
  [[nodiscard]] std::string error() const {
    try {
      (void)open_checkpoint(folder_);
    } catch (const quire::Error& error) {
      return error.what();
    }
    return "no error";
  }
  quire::testing::TempDir directory_;
  fs::path folder_ = directory_.path() / "tiny-llama";
};

TEST_F(LoadTest, OpensADirectory) {
  write("generation_config.json", R"({"eos_token_id": [2, 3], "temperature": 0.5})");
  fs::copy("tests/golden/tokenizer/opt.json", folder_ / "tokenizer.json");
  for (const std::string& path : {folder_.string(), folder_.string() + "/"}) {
    const Checkpoint checkpoint = open_checkpoint(path);
    EXPECT_EQ(checkpoint.config.shape.name, "tiny-llama");
    EXPECT_THAT(checkpoint.config.eos, ElementsAre(2));
    EXPECT_THAT(checkpoint.generation.eos, ElementsAre(2, 3));
    EXPECT_EQ(checkpoint.generation.temperature, 0.5);
    EXPECT_EQ(checkpoint.tensors.size(), 1u);
    ASSERT_TRUE(checkpoint.tokenizer.has_value());
    EXPECT_EQ(checkpoint.tokenizer->decode(checkpoint.tokenizer->encode("hello")), " hello");
  }
}

TEST_F(LoadTest, TokenizerAndGenerationConfigMayBeAbsent) {
  const Checkpoint checkpoint = open_checkpoint(folder_);
  EXPECT_FALSE(checkpoint.tokenizer.has_value());
  EXPECT_FALSE(checkpoint.generation.temperature.has_value());
}

TEST_F(LoadTest, TensorsOutliveTheCheckpointAndItsFiles) {
  quire::checkpoint::TensorSet tensors = open_checkpoint(folder_).tensors;
  fs::remove_all(folder_);
  std::vector<float> values(2);
  quire::checkpoint::read_floats(tensors.at("model.norm.weight", {2}), 0, values);
  EXPECT_THAT(values, ElementsAre(1, 2));
}

TEST_F(LoadTest, FollowsLinksAsADownloadCacheMakesThem) {
  fs::create_directory(directory_.path() / "blobs");
  fs::rename(folder_ / "model.safetensors", directory_.path() / "blobs" / "abc");
  fs::create_symlink("../blobs/abc", folder_ / "model.safetensors");
  EXPECT_EQ(open_checkpoint(folder_).tensors.size(), 1u);
}

TEST_F(LoadTest, WhatIsMissingOrBrokenIsNamed) {
  EXPECT_THROW((void)open_checkpoint(folder_ / "none"), quire::Error);
  write("tokenizer.json", "{}");
  EXPECT_THAT(error(), HasSubstr("tiny-llama/tokenizer.json: (byte 0): key \"model\" is missing"));
  fs::remove(folder_ / "tokenizer.json");
  write("generation_config.json", "{\"top_p\": 2}");
  EXPECT_THAT(error(), HasSubstr("generation_config.json: top_p (byte 10)"));
  fs::remove(folder_ / "generation_config.json");
  fs::remove(folder_ / "model.safetensors");
  EXPECT_THAT(error(), HasSubstr("no weights here"));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(error(), HasSubstr("config.json: cannot open it (No such file or directory)"));
}

}  // namespace
