#include <quire/model/weight_image.hpp>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/gguf/save.hpp>
#include <quire/model/bitsandbytes.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <quire/weight_format/nf4.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q8_0.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"
#include "tests/model/same_weights.hpp"

namespace quire::model {
namespace {

namespace fs = std::filesystem;
using quire::testing::golden;
using quire::testing::opened;
using quire::testing::TempDir;
using ::testing::HasSubstr;
using weight_format::codec_of;
using weight_format::Packed;
using weight_format::WeightCodec;

constexpr auto nf4 = checkpoint::Quantisation::Layout::bitsandbytes_nf4;
/// The weights of a model, and of its image, bit for bit.
template <class Format>
void expect_same(const checkpoint::Checkpoint& model, const WeightCodec& codec) {
  SCOPED_TRACE(model.config.shape.name + " in " + std::string(codec.name));
  const TempDir folder;
  const std::string image = folder.path() / "image";
  ThreadPool threads(2);
  save_weight_image<Format>(model, codec, image, threads);
  const checkpoint::Checkpoint back = opened(image);
  ASSERT_TRUE(back.config.packed.has_value());
  EXPECT_EQ(back.config.packed->weight_format, codec.name);
  EXPECT_EQ(back.tokenizer.has_value(), model.tokenizer.has_value());
  expect_same(Parts<Format>(model, codec), Parts<Format>(back, codec));
}

TEST(WeightImage, GivesTheSameWeightsOfEveryFamily) {
  for (const char* name : {"gpt2", "llama", "llama_bias", "llama_rope_llama3", "mistral", "mixtral",
                           "opt", "opt_post_norm", "qwen2", "qwen3", "qwen3_moe"}) {
    const checkpoint::Checkpoint model = golden(name);
    expect_same<weight_format::Fp32>(model, codec_of<weight_format::Fp32>());
    expect_same<Packed>(model, codec_of<weight_format::Q80>());
  }
}

/// Of a GGUF file, whose hyperparameters and tokenizer become the files of a directory.
TEST(WeightImage, HoldsModelsFromGgufFiles) {
  const TempDir folder;
  for (const char* name :
       {"llama", "llama_bias", "llama_rope_llama3", "mistral", "mixtral", "qwen2", "qwen3"}) {
    const std::string gguf = folder.path() / (std::string(name) + ".gguf");
    checkpoint::save_gguf(golden(name), gguf, checkpoint::DType::f16);
    const checkpoint::Checkpoint model = opened(gguf);
    expect_same<Packed>(model, codec_of<weight_format::Q80>());
    const std::string image = folder.path() / name;
    ThreadPool threads(1);
    save_weight_image<weight_format::Fp32>(model, codec_of<weight_format::Fp32>(), image, threads);
    const checkpoint::ModelConfig a = model.config, b = opened(image).config;
    EXPECT_EQ(a.norm_eps, b.norm_eps);
    EXPECT_EQ(a.rope_theta, b.rope_theta);
    EXPECT_EQ(a.rope_divisors, b.rope_divisors);
    EXPECT_EQ(a.windows, b.windows);
    EXPECT_EQ(a.bos, b.bos);
    EXPECT_EQ(a.eos, b.eos);
    EXPECT_EQ(a.pad, b.pad);
    EXPECT_EQ(a.qkv_bias, b.qkv_bias);
    EXPECT_EQ(a.output_bias, b.output_bias);
    EXPECT_EQ(a.mlp_bias, b.mlp_bias);
    EXPECT_EQ(a.query_key_norm, b.query_key_norm);
    EXPECT_EQ(a.normalize_expert_weights, b.normalize_expert_weights);
    EXPECT_EQ(a.shape.parameters(), b.shape.parameters());
    EXPECT_EQ(a.shape.head_dim, b.shape.head_dim);
    EXPECT_EQ(a.shape.kv_heads, b.shape.kv_heads);
    EXPECT_EQ(a.shape.experts_per_token, b.shape.experts_per_token);
    EXPECT_EQ(a.shape.tied_embedding, b.shape.tied_embedding);
    EXPECT_EQ(a.shape.max_length, b.shape.max_length);
    EXPECT_FALSE(fs::exists(fs::path(image) / "generation_config.json"));
  }
}

/// What no golden file of GGUF's has: a mixture of Qwen's, a llama with a window, sampling.
TEST(WeightImage, SaysHyperparametersAsDirectoriesDo) {
  checkpoint::ModelConfig moe = golden("qwen3_moe").config;
  moe.dense_layers.clear();
  moe.dense_ffn = 0;
  moe.normalize_expert_weights = true;
  moe.rope_divisors.assign(static_cast<std::size_t>(moe.shape.head_dim / 2), 0.1f);
  const auto again = [](const checkpoint::ModelConfig& c) {
    return checkpoint::parse_config(checkpoint::config_text(c, "a.gguf"), "config.json");
  };
  const checkpoint::ModelConfig back = again(moe);
  EXPECT_EQ(back.shape.family, Family::qwen3_moe);
  EXPECT_EQ(back.shape.ffn, moe.shape.ffn);
  EXPECT_EQ(back.shape.experts, moe.shape.experts);
  EXPECT_TRUE(back.normalize_expert_weights);
  EXPECT_TRUE(back.dense_layers.empty());
  EXPECT_EQ(back.rope_divisors, moe.rope_divisors);
  checkpoint::ModelConfig window = golden("llama").config;
  window.windows.assign(window.windows.size(), 16);
  EXPECT_EQ(again(window).windows, window.windows);
  window.qkv_bias = true;
  EXPECT_THROW((void)again(window), Error);
  checkpoint::GenerationConfig g;
  EXPECT_EQ(checkpoint::generation_text(g), "");
  g.temperature = 0.6f;
  g.top_k = 20;
  const auto read = checkpoint::parse_generation_config(checkpoint::generation_text(g), "g");
  EXPECT_EQ(read.temperature, g.temperature);
  EXPECT_EQ(read.top_k, g.top_k);
  EXPECT_FALSE(read.top_p.has_value());
}

TEST(WeightImage, HoldsEveryKindOfFormat) {
  const checkpoint::Checkpoint llama = golden("llama");
  expect_same<Packed>(llama, codec_of<weight_format::Q40>());
  expect_same<Packed>(llama, codec_of<weight_format::Nf4>());
  expect_same<Packed>(llama, codec_of<weight_format::Int4Grouped<32>>());
  // another format for embedding and output
  expect_same<Packed>(llama, codec_of<weight_format::LinearOnly<weight_format::Int4Grouped<32>>>());
}

TEST(WeightImage, HoldsCheckpointsThatAreQuantisedAlready) {
  expect_same<weight_format::Fp32>(golden("llama_gptq_int4"), codec_of<weight_format::Fp32>());
  expect_same<weight_format::Fp32>(golden("llama_bitsandbytes_nf4"),
                                   codec_of<weight_format::Fp32>());
}

/// GPTQ in the order of activations: inputs are gathered, which an image must say.
TEST(WeightImage, KeepsTheOrderOfInputs) {
  MatrixSource source;
  source.outputs = 5;
  source.inputs = 64;
  source.quantised = true;
  auto codes = std::make_shared<weight_format::Grouped>(5, 64, 4, 32);
  codes->scales.assign(5 * 2, to_fp16(0.5f));
  codes->zeros.assign(5 * 2, 8);
  for (std::size_t i = 0; i < codes->codes.size(); ++i) {
    codes->codes[i] = static_cast<std::uint8_t>(i * 7 % 16);
  }
  for (std::uint32_t k = 0; k < 64; ++k) codes->group_of.push_back(k % 2);
  source.codes = codes;
  source.codec = &codec_of<weight_format::Int4Grouped<32>>();
  ThreadPool threads(1);
  const PanelMatrix<Packed> matrix(source, threads);
  ASSERT_EQ(matrix.packed().order.size(), 64u);

  MatrixSource again;
  again.outputs = 5;
  again.inputs = 64;
  again.codec = source.codec;
  again.packed = matrix.packed();
  const PanelMatrix<Packed> image(again, threads);
  std::vector<float> x(64), a(image.padded_outputs()), b(image.padded_outputs()), row(64), its(64);
  for (std::size_t k = 0; k < 64; ++k) x[k] = static_cast<float>(k) - 20.5f;
  matrix.multiply(x.data(), 64, 1, a.data(), a.size(), threads);
  image.multiply(x.data(), 64, 1, b.data(), b.size(), threads);
  EXPECT_EQ(a, b);
  EXPECT_NE(a[0], 0.0f);
  matrix.read_row(3, row.data());
  image.read_row(3, its.data());
  EXPECT_EQ(row, its);
}

/// Nothing of a matrix is copied: its bytes are those of the file, which another's are not.
TEST(WeightImage, IsUsedAsItLies) {
  const TempDir folder;
  const std::string path = folder.path() / "image";
  ThreadPool threads(1);
  save_weight_image<Packed>(golden("llama"), codec_of<weight_format::Q80>(), path, threads);
  const checkpoint::Checkpoint image = opened(path);
  const auto weights =
      load_weights<Packed>(image.config, image.tensors, threads, codec_of<weight_format::Q80>());
  const checkpoint::TensorView& panels =
      image.tensors.at("model.layers.0.self_attn.q_proj+self_attn.k_proj+self_attn.v_proj.panels");
  EXPECT_EQ(weights.layers[0].qkv.packed().bytes.data(), panels.bytes.data());
  fs::remove_all(path);  // and they stay, also without the checkpoint
  std::vector<float> row(static_cast<std::size_t>(image.config.shape.hidden));
  checkpoint::Checkpoint gone = image;
  gone.tensors = {};
  weights.layers[0].qkv.read_row(0, row.data());
  EXPECT_NE(row, std::vector<float>(row.size()));
}

class WeightImageErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    ThreadPool threads(1);
    save_weight_image<Packed>(golden("llama"), q8_0, image_, threads);
  }
  template <class Format = Packed>
  [[nodiscard]] std::string error(const WeightCodec& codec) const {
    try {
      const checkpoint::Checkpoint model = opened(image_);
      ThreadPool threads(1);
      (void)load_weights<Format>(model.config, model.tensors, threads, codec);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  /// Replaces a text of the header by one of as many bytes.
  void replace(const std::string& a, const std::string& b) const {
    ASSERT_EQ(a.size(), b.size());
    std::string all = quire::testing::read_file(file_);
    const std::size_t at = all.find(a);
    ASSERT_NE(at, std::string::npos) << a;
    all.replace(at, a.size(), b);
    std::ofstream(file_, std::ios::binary) << all;
  }
  TempDir folder_;
  const WeightCodec& q8_0 = codec_of<weight_format::Q80>();
  std::string image_ = folder_.path() / "image";
  std::string file_ = image_ + "/packed_weights.safetensors";
};

TEST_F(WeightImageErrors, AnotherFormatIsRefused) {
  EXPECT_EQ(error(q8_0), "no error");
  EXPECT_EQ(
      error<weight_format::Fp32>(codec_of<weight_format::Fp32>()),
      file_ + ": is an image of weight format \"q8_0\"; expected \"fp32\", which was asked for");
}

TEST_F(WeightImageErrors, AnotherLayoutIsRefused) {
  const std::string layout = packed_as(q8_0).layout;
  std::string other = layout;
  other.back() = other.back() == '0' ? '1' : '0';
  replace(layout, other);
  EXPECT_THAT(error(q8_0), HasSubstr("was made on another kind of processor, or by another version "
                                     "(layout \"" +
                                     other + "\"); expected \"" + layout + "\""));
}

TEST_F(WeightImageErrors, AnotherVersionIsRefused) {
  replace("\"version\":\"1\"", "\"version\":\"2\"");
  EXPECT_THAT(error(q8_0), HasSubstr("header: __metadata__: version: \"2\"; expected \"1\""));
  replace("\"version\":\"2\"", "\"versiom\":\"2\"");
  EXPECT_THAT(error(q8_0), HasSubstr("there is no \"version\"; expected an image"));
}

TEST_F(WeightImageErrors, AMatrixOfAnotherSizeIsRefused) {
  const checkpoint::Checkpoint model = opened(image_);
  std::string config = quire::testing::read_file(image_ + "/config.json");
  const std::string wide = "\"intermediate_size\": " + std::to_string(model.config.shape.ffn);
  const std::size_t at = config.find(wide);
  ASSERT_NE(at, std::string::npos);
  config.replace(at, wide.size(), "\"intermediate_size\": 4096");
  std::ofstream(image_ + "/config.json") << config;
  EXPECT_THAT(error(q8_0), HasSubstr("mlp.gate_proj+mlp.up_proj.panels\": "));
  EXPECT_THAT(error(q8_0), HasSubstr("an image of this model in this format"));
}

TEST_F(WeightImageErrors, CutOffAnywhereItIsRefused) {
  const std::string all = quire::testing::read_file(file_);
  const auto sound = [&](std::size_t bytes) {
    std::ofstream(file_, std::ios::binary) << all.substr(0, bytes);
    return error(q8_0) == "no error";
  };
  EXPECT_TRUE(sound(all.size()));
  for (std::size_t bytes = 0; bytes < all.size(); bytes += bytes < 9000 ? 131 : 4093) {
    EXPECT_FALSE(sound(bytes)) << bytes;
  }
  EXPECT_FALSE(sound(all.size() - 1));
}

TEST_F(WeightImageErrors, WhatIsMissingOrCrookedIsNamed) {
  const checkpoint::Checkpoint model = opened(image_);
  std::vector<checkpoint::TensorSet::Entry> entries;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    entries.push_back({std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}, t.bytes});
  }
  const auto without = [&](std::size_t i) {
    auto rest = entries;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
    checkpoint::write_image(file_, *model.config.packed, rest);
    return error(q8_0);
  };
  for (std::size_t i = 0; i < entries.size(); ++i) {
    EXPECT_THAT(without(i), HasSubstr("there is no tensor \"" + entries[i].name + "\""));
  }
  // a writer that does not align what it writes
  checkpoint::safetensors::write(
      file_, std::vector<checkpoint::safetensors::Declared>{{"a", checkpoint::DType::u8, {8}}},
      [](std::size_t) {
        static const std::byte eight[8]{};
        return std::span<const std::byte>(eight);
      });
  EXPECT_THAT(error(q8_0), HasSubstr("there is no \"version\""));
  std::vector<checkpoint::safetensors::Declared> declared{{"a", checkpoint::DType::u8, {8}}};
  for (const auto& e : entries) declared.push_back({e.name, e.dtype, e.shape});
  checkpoint::safetensors::write(
      file_, declared,
      [&](std::size_t i) {
        static const std::byte eight[8]{};
        return i == 0 ? std::span<const std::byte>(eight) : entries[i - 1].bytes;
      },
      {{"version", "1"},
       {"weight_format", model.config.packed->weight_format},
       {"layout", model.config.packed->layout}},
      4096);
  EXPECT_THAT(error(q8_0), HasSubstr("its bytes do not start on a multiple of 64"));
}

/// A product of another library, which has its own bytes.
struct OtherGemm {
  static constexpr std::string_view name = "other";
  template <class Format>
  struct Matrix : PanelMatrix<Format> {
    using PanelMatrix<Format>::PanelMatrix;
    void packed() const = delete;
  };
};

TEST_F(WeightImageErrors, AnExecutorWithoutPanelsRefusesIt) {
  ThreadPool threads(1);
  const checkpoint::Checkpoint model = opened(image_);
  try {
    (void)load_weights<weight_format::Fp32, OtherGemm>(model.config, model.tensors, threads,
                                                       codec_of<weight_format::Fp32>());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("holds packed weights, which this executor does not take"));
  }
  EXPECT_THAT(
      [&] {
        try {
          (void)to_bitsandbytes(model, nf4);
        } catch (const Error& error) {
          return std::string(error.what());
        }
        return std::string("no error");
      }(),
      HasSubstr("an image, packed already"));
}

}  // namespace
}  // namespace quire::model
