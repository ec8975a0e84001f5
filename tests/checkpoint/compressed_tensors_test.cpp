// Linear layers as compressed-tensors stores them: what it wrote (tests/golden/models/make_compressed_tensors.py;
// its logits are compared in tests/model/golden_logits_test.cpp), there and back, and damaged.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/compressed_tensors.hpp>
#include <quire/checkpoint/config.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/core/rng.hpp>
#include <quire/model/compressed_tensors.hpp>
#include <quire/weight_format/fp8_w8a8.hpp>
#include <quire/weight_format/w8a8.hpp>
#include <tests/common/mutate.hpp>
#include <tests/common/temp_file.hpp>

namespace quire::checkpoint {
namespace {

using Layout = Quantisation::Layout;
using weight_format::Grouped;

TEST(CompressedTensors, WhatItPackedIsPackedAgainByteForByte) {
  const std::string folder = QUIRE_SOURCE_DIR "/tests/golden/models/llama_compressed_int4";
  const ModelConfig config = read_config(folder + "/config.json");
  ASSERT_TRUE(config.quantisation.has_value());
  EXPECT_EQ(config.quantisation->layout, Layout::compressed_packed);
  EXPECT_EQ(config.quantisation->group, 32u);
  EXPECT_FALSE(config.quantisation->symmetric);
  const TensorSet set = safetensors::open_file(folder + "/model.safetensors");
  for (const std::string name : {"model.layers.0.mlp.down_proj", "model.layers.1.mlp.up_proj"}) {
    const bool down = name.ends_with("down_proj");
    const CompressedMatrix m(set, *config.quantisation, name, down ? 64 : 128, down ? 128 : 64);
    ASSERT_NE(m.codes(), nullptr);
    EXPECT_TRUE(m.held_by().empty());
    TensorList list;
    add_grouped(list, *config.quantisation, name, *m.codes());
    const TensorSet ours = list.set("memory");
    ASSERT_EQ(ours.size(), 4u);
    for (const TensorView& t : ours.all()) {
      const TensorView& theirs = set.at(t.name);
      EXPECT_TRUE(theirs.has_shape(t.shape)) << t.name;
      ASSERT_EQ(t.bytes.size(), theirs.bytes.size());
      EXPECT_EQ(std::memcmp(t.bytes.data(), theirs.bytes.data(), t.bytes.size()), 0) << t.name;
    }
  }
}

TEST(CompressedTensors, BytesAreReadWithTheirScales) {
  for (const auto& [kind, layout, held] : {std::tuple("int8", Layout::compressed_int8, "w8a8"),
                                           std::tuple("fp8", Layout::compressed_fp8, "fp8_w8a8")}) {
    const std::string folder =
        std::string(QUIRE_SOURCE_DIR "/tests/golden/models/llama_compressed_") + kind;
    const ModelConfig config = read_config(folder + "/config.json");
    ASSERT_TRUE(config.quantisation.has_value());
    EXPECT_EQ(config.quantisation->layout, layout);
    const TensorSet set = safetensors::open_file(folder + "/model.safetensors");
    const CompressedMatrix m(set, *config.quantisation, "model.layers.0.mlp.up_proj", 128, 64);
    const auto formats = m.held_by();
    // int8 reaches -128 here, which no symmetric format of ours has.
    EXPECT_EQ(formats.front(), layout == Layout::compressed_fp8 ? held : "fp32");
    std::vector<float> row(64);
    m.read(127, 1, row.data());
    float most = 0;
    for (const float x : row) most = std::max(most, std::abs(x));
    EXPECT_GT(most, 0.01f);
    EXPECT_LT(most, 10.0f);
  }
}

/// Bytes that we write are held as they are by the formats of W8A8, and the model is saved and opened again.
TEST(CompressedTensors, BytesAreSavedAndOpenedAgain) {
  const Checkpoint model = open_checkpoint(QUIRE_SOURCE_DIR "/tests/golden/models/llama");
  testing::TempDir directory;
  for (const Layout layout : {Layout::compressed_int8, Layout::compressed_fp8}) {
    const Checkpoint made = model::to_compressed_bytes(model, layout);
    const std::string path = (directory.path() / std::to_string(static_cast<int>(layout))).string();
    save_checkpoint(made, path);
    EXPECT_FALSE(std::filesystem::exists(path + ".part"));
    EXPECT_THROW(save_checkpoint(made, path), Error);  // it is there
    const Checkpoint read = open_checkpoint(path);
    ASSERT_TRUE(read.config.quantisation.has_value());
    EXPECT_EQ(read.config.quantisation->layout, layout);
    ASSERT_EQ(read.tensors.size(), made.tensors.size());
    const std::string name = "model.layers.1.mlp.down_proj";
    const CompressedMatrix m(read.tensors, *read.config.quantisation, name, 32, 64);
    EXPECT_EQ(m.held_by().front(), layout == Layout::compressed_fp8 ? "fp8_w8a8" : "w8a8");
    std::vector<float> stored(32 * 64), before(32 * 64), packed(64);
    m.read(0, 32, stored.data());
    read_floats(model.tensors.at(name + ".weight"), 0, before);
    using weight_format::Fp8W8a8, weight_format::W8a8;
    const bool floats = layout == Layout::compressed_fp8;
    std::vector<std::byte> panel(
        (floats ? Fp8W8a8::panel_bytes(32, 64) : W8a8::panel_bytes(32, 64)) + 64);
    std::byte* at = panel.data() + (64 - reinterpret_cast<std::uintptr_t>(panel.data()) % 64) % 64;
    (floats ? Fp8W8a8::pack : W8a8::pack)(at, 32, 64, stored.data());
    double error = 0, square = 0;
    for (std::size_t n = 0; n < 32; ++n) {
      (floats ? Fp8W8a8::read : W8a8::read)(at, 32, 64, n, packed.data());
      for (std::size_t i = 0; i < 64; ++i) {
        EXPECT_EQ(packed[i], stored[n * 64 + i]);
        error += std::pow(static_cast<double>(stored[n * 64 + i] - before[n * 64 + i]), 2);
        square += std::pow(static_cast<double>(before[n * 64 + i]), 2);
      }
    }
    EXPECT_LT(std::sqrt(error / square), floats ? 0.04 : 0.008);
    EXPECT_GT(error, 0);
  }
  EXPECT_THROW((void)model::to_compressed_bytes(model, Layout::awq), Error);
}

Grouped random(std::size_t outputs, std::size_t inputs, unsigned bits, std::size_t group) {
  Rng rng(bits + group);
  Grouped m(outputs, inputs, bits, group);
  const auto most = static_cast<std::uint64_t>(m.most_code());
  for (auto& c : m.codes) c = static_cast<std::uint8_t>(rng.below(most + 1));
  for (auto& z : m.zeros) z = static_cast<std::uint8_t>(rng.below(most + 1));
  for (auto& s : m.scales) s = to_fp16(static_cast<float>(rng.uniform()));
  return m;
}
Quantisation as(unsigned bits, std::size_t group, bool symmetric) {
  Quantisation q;
  q.layout = Layout::compressed_packed;
  q.bits = bits;
  q.group = group;
  q.symmetric = symmetric;
  return q;
}

TEST(CompressedTensors, EveryNumberOfBitsGivesItsCodesBack) {
  for (const unsigned bits : {2u, 3u, 4u, 8u}) {
    for (const std::size_t group : {0u, 10u}) {  // 50 inputs fill no whole words
      for (const bool symmetric : {false, true}) {
        const Quantisation q = as(bits, group, symmetric);
        Grouped m = random(7, 50, bits, group == 0 ? 50 : group);
        if (symmetric) std::fill(m.zeros.begin(), m.zeros.end(), 1u << (bits - 1));
        TensorList list;
        add_grouped(list, q, "l", m);
        const CompressedMatrix read(list.set("memory"), q, "l", 7, 50);
        ASSERT_NE(read.codes(), nullptr);
        EXPECT_EQ(read.codes()->codes, m.codes);
        EXPECT_EQ(read.codes()->zeros, m.zeros);
        EXPECT_EQ(read.codes()->scales, m.scales);
        std::vector<float> values(7 * 50);
        read.read(0, 7, values.data());
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_NEAR(values[i], m.at(i / 50, i % 50), 1e-3f * (1 + std::abs(values[i])));
        }
      }
    }
  }
}

TEST(CompressedTensors, ConfigurationsThatItCannotMeanHereAreRefused) {
  const auto refusal = [](const std::string& more, const std::string& weights) {
    const std::string text =
        R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "vocab_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 64, "quantization_config": {"quant_method": "compressed-tensors",)" +
        more + R"("config_groups": {"group_0": {"weights": {)" + weights + "}}}}}";
    try {
      (void)parse_config(text, "config.json");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  const std::string packed = R"("format": "pack-quantized",)";
  const std::string four = R"("num_bits": 4, "type": "int", "strategy": "group", "group_size": 32)";
  EXPECT_EQ(refusal(packed, four), "accepted");
  const std::pair<std::string, std::string> wrong[] = {
      {refusal(R"("format": "nvfp4-pack-quantized",)", four), "nvfp4"},
      {refusal(R"("format": "int-quantized",)", four), "4 bits"},
      {refusal(packed, R"("num_bits": 5, "type": "int", "strategy": "channel")"), "5 bits"},
      {refusal(packed, R"("num_bits": 4, "type": "float", "strategy": "channel")"), "float"},
      {refusal(packed, R"("num_bits": 4, "type": "int", "strategy": "block")"), "block"},
      {refusal(packed, R"("num_bits": 4, "type": "int", "strategy": "group")"), "group_size"}};
  for (const auto& [line, part] : wrong) EXPECT_NE(line.find(part), std::string::npos) << line;
}

/// A file of one layer and its reader: it reads whole, or gives one line that names it.
TEST(CompressedTensors, DamagedFilesGiveOneErrorEach) {
  testing::TempDir directory;
  const Quantisation q = as(4, 32, false);
  TensorList list;
  add_grouped(list, q, "l", random(8, 32, 4, 32));
  const std::string text = safetensors::serialize(list.set("memory").all());
  std::size_t number = 0;
  const auto load = [&](const std::string& damaged) {
    const std::string path = directory.write("c" + std::to_string(number++), damaged);
    bool loaded = false;
    try {
      const CompressedMatrix m(safetensors::open_file(path), q, "l", 8, 32);
      std::vector<float> values(8 * 32);
      m.read(0, 8, values.data());
      loaded = true;
    } catch (const Error& e) {
      const std::string_view line = e.what();
      EXPECT_EQ(e.kind(), ErrorKind::data) << line;
      EXPECT_NE(line.find(path), std::string_view::npos) << line;
      EXPECT_EQ(line.find('\n'), std::string_view::npos) << line;
    }
    std::filesystem::remove(path);
    return loaded;
  };
  EXPECT_TRUE(load(text));
  for (std::size_t cut = 0; cut < text.size(); ++cut) {
    ASSERT_FALSE(load(text.substr(0, cut))) << "cut at byte " << cut;
  }
  testing::Mutator mutator(
      3, {"\"I32\"", "\"F16\"", "[8,4]", "[8,1]", ".weight_scale", ".weight_shape", "\"BF16\""});
  for (std::size_t i = 0; i < testing::fuzz_count(500) && !HasFailure(); ++i) {
    (void)load(mutator.mutate(text));
  }
}

}  // namespace
}  // namespace quire::checkpoint
