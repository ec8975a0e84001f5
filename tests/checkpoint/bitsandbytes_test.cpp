// Linear layers as bitsandbytes stores them: what it wrote (tests/golden/models/make_bitsandbytes.py; its
// logits are compared in tests/model/golden_logits_test.cpp), there and back, and damaged.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/bitsandbytes.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/core/rng.hpp>
#include <quire/model/bitsandbytes.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <quire/weight_format/nf4.hpp>
#include <tests/common/mutate.hpp>
#include <tests/common/temp_file.hpp>

namespace quire::checkpoint {
namespace {

using Layout = Quantisation::Layout;
using weight_format::codec_of;

constexpr const char* golden_models = QUIRE_SOURCE_DIR "/tests/golden/models/";

Quantisation as(Layout layout, bool nested) {
  Quantisation q;
  q.layout = layout;
  q.nested = nested;
  return q;
}
std::vector<float> random(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(rng.normal());
  return v;
}
std::vector<float> floats_of(const TensorSet& set, const std::string& name, std::size_t outputs,
                             std::size_t inputs) {
  const BitsandbytesMatrix m(set, name, outputs, inputs);
  std::vector<float> values(outputs * inputs);
  for (std::size_t n = 0; n < outputs; n += 3) {  // in parts
    m.read(n, std::min<std::size_t>(3, outputs - n), &values[n * inputs]);
  }
  return values;
}

/// Its files are read, and from the numbers in them we write its bytes again.
TEST(Bitsandbytes, FilesThatItWroteAreWrittenAgainByteForByte) {
  const std::pair<const char*, Layout> folders[] = {
      {"llama_bitsandbytes_nf4", Layout::bitsandbytes_nf4},
      {"llama_bitsandbytes_fp4", Layout::bitsandbytes_fp4},
      {"llama_bitsandbytes_int8", Layout::bitsandbytes_int8}};
  for (const auto& [folder, layout] : folders) {
    const Checkpoint model = open_checkpoint(std::string(golden_models) + folder);
    ASSERT_TRUE(model.config.quantisation.has_value()) << folder;
    EXPECT_EQ(model.config.quantisation->layout, layout);
    int layers = 0;
    for (const TensorView& t : model.tensors.all()) {
      if (!t.name.ends_with("_proj.weight")) continue;
      const std::string name(t.name.substr(0, t.name.rfind('.')));
      ASSERT_TRUE(BitsandbytesMatrix::stores(model.tensors, name));
      const bool down = name.ends_with("down_proj"),
                 wide = name.ends_with("gate_proj") || name.ends_with("up_proj");
      const bool kv = name.ends_with("k_proj") || name.ends_with("v_proj");
      const std::size_t outputs = wide ? 128 : kv ? 32 : 64, inputs = down ? 128 : 64;
      const auto values = floats_of(model.tensors, name, outputs, inputs);
      TensorList list;
      add_bitsandbytes(list, *model.config.quantisation, name, outputs, inputs, values);
      const TensorSet ours = list.set("memory");
      for (const TensorView& mine : ours.all()) {
        SCOPED_TRACE(std::string(folder) + " " + std::string(mine.name));
        const TensorView& theirs = model.tensors.at(mine.name);
        EXPECT_EQ(mine.dtype, theirs.dtype);
        // Rounding scales a second time may move them; everything else is the same.
        const bool scales = mine.name.find("absmax") != std::string_view::npos ||
                            mine.name.find("quant_state") != std::string_view::npos;
        if (scales && model.config.quantisation->nested) continue;
        if (mine.name.ends_with(".SCB")) {  // went through a division by 127 and back
          std::vector<float> a(outputs), b(outputs);
          read_floats(mine, 0, a);
          read_floats(theirs, 0, b);
          for (std::size_t i = 0; i < outputs; ++i) EXPECT_NEAR(a[i], b[i], 1e-6f * b[i]);
          continue;
        }
        EXPECT_TRUE(mine.has_shape(theirs.shape));
        ASSERT_EQ(mine.bytes.size(), theirs.bytes.size());
        if (layout == Layout::bitsandbytes_fp4 && mine.name.ends_with(".weight"))
          continue;  // 2 zeros
        EXPECT_EQ(std::memcmp(mine.bytes.data(), theirs.bytes.data(), mine.bytes.size()), 0);
      }
      if (layout == Layout::bitsandbytes_fp4) {
        EXPECT_EQ(floats_of(ours, name, outputs, inputs), values);
      }
      ++layers;
    }
    EXPECT_EQ(layers, 14);
  }
}

TEST(Bitsandbytes, LayersComeBackAndCostTheirBits) {
  constexpr std::size_t outputs = 256, inputs = 256;
  const auto values = random(outputs * inputs, 1);
  for (const Layout layout :
       {Layout::bitsandbytes_nf4, Layout::bitsandbytes_fp4, Layout::bitsandbytes_int8}) {
    for (const bool nested : {false, true}) {
      if (nested && layout == Layout::bitsandbytes_int8) continue;
      TensorList list;
      add_bitsandbytes(list, as(layout, nested), "l", outputs, inputs, values);
      const TensorSet set = list.set("memory");
      const auto back = floats_of(set, "l", outputs, inputs);
      double error = 0, square = 0;
      for (std::size_t i = 0; i < back.size(); ++i) {
        error += std::pow(static_cast<double>(back[i]) - static_cast<double>(values[i]), 2);
        square += std::pow(static_cast<double>(values[i]), 2);
      }
      const double relative = std::sqrt(error / square);
      EXPECT_LT(relative, layout == Layout::bitsandbytes_int8 ? 0.008 : 0.125);
      EXPECT_GT(relative, 1e-4);
      std::size_t bytes = 0;
      for (const TensorView& t : set.all()) {
        const bool fixed = t.name.find("quant_map") != std::string_view::npos ||
                           t.name.find("quant_state") != std::string_view::npos;
        if (!fixed) bytes += t.bytes.size();
      }
      const double want = layout == Layout::bitsandbytes_int8 ? 8 + 32.0 / inputs
                          : nested                            ? 4.127
                                                              : 4.5;
      EXPECT_NEAR(8 * static_cast<double>(bytes) / (outputs * inputs), want, 0.001);
    }
  }
}

/// What is read packs into the format of the same name without a change, and into no other one.
TEST(Bitsandbytes, NumbersAreHeldByTheFormatOfTheirNameAlone) {
  TensorList list;
  constexpr std::size_t outputs = 16, inputs = 128;
  add_bitsandbytes(list, as(Layout::bitsandbytes_nf4, true), "l", outputs, inputs,
                   random(outputs * inputs, 2));
  const TensorSet set = list.set("memory");
  const auto values = floats_of(set, "l", outputs, inputs);
  using weight_format::Nf4;
  std::vector<std::byte> panel(Nf4::panel_bytes(outputs, inputs));
  Nf4::pack(panel.data(), outputs, inputs, values.data());
  std::vector<float> row(inputs);
  for (std::size_t n = 0; n < outputs; ++n) {
    Nf4::read(panel.data(), outputs, inputs, n, row.data());
    EXPECT_TRUE(std::equal(row.begin(), row.end(), &values[n * inputs]));
  }
  const auto held = BitsandbytesMatrix(set, "l", outputs, inputs).held_by();
  EXPECT_NO_THROW(check_holds(codec_of<Nf4>(), held));
  EXPECT_NO_THROW(check_holds(codec_of<weight_format::LinearOnly<Nf4>>(), held));
  EXPECT_NO_THROW(check_holds(codec_of<weight_format::Fp32>(), held));
  try {
    check_holds(codec_of<weight_format::Int4Grouped<128>>(), held);
    ADD_FAILURE() << "NF4 was rounded again";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("expected nf4, fp32"), std::string::npos) << e.what();
  }
}

TEST(Bitsandbytes, ModelsAreSavedAndOpenedAgain) {
  const Checkpoint model = open_checkpoint(std::string(golden_models) + "llama");
  testing::TempDir directory;
  for (const Layout layout : {Layout::bitsandbytes_nf4, Layout::bitsandbytes_int8}) {
    const Checkpoint made = model::to_bitsandbytes(model, layout);
    const std::string path = (directory.path() / std::to_string(static_cast<int>(layout))).string();
    save_checkpoint(made, path);
    const Checkpoint read = open_checkpoint(path);
    ASSERT_TRUE(read.config.quantisation.has_value());
    EXPECT_EQ(read.config.quantisation->layout, layout);
    EXPECT_EQ(read.config.quantisation->nested, layout == Layout::bitsandbytes_nf4);
    ASSERT_EQ(read.tensors.size(), made.tensors.size());
    EXPECT_GT(read.tensors.size(), model.tensors.size());
    const std::string name = "model.layers.1.mlp.down_proj";
    EXPECT_EQ(floats_of(read.tensors, name, 32, 64), floats_of(made.tensors, name, 32, 64));
    EXPECT_THROW((void)model::to_bitsandbytes(read, layout), Error);
    EXPECT_THROW((void)model::to_bitsandbytes(model, Layout::awq), Error);
  }
}

/// Each says which tensor, and what was expected.
TEST(Bitsandbytes, WhatCannotBeItsIsRefused) {
  constexpr std::size_t outputs = 8, inputs = 64;
  const auto values = random(outputs * inputs, 3);
  const auto refusal = [&](Layout layout, bool nested, std::string_view tensor, DType dtype,
                           std::vector<std::int64_t> shape, const std::string& bytes) {
    TensorList list;
    add_bitsandbytes(list, as(layout, nested), "l", outputs, inputs, values);
    const TensorSet whole = list.set("memory");
    TensorList damaged;
    damaged.keep(whole);
    for (const TensorView& t : whole.all()) {
      if (t.name != tensor) damaged.add(t);
    }
    if (!bytes.empty()) {
      damaged.add(std::string(tensor), dtype, std::move(shape),
                  std::vector<char>(bytes.begin(), bytes.end()));
    }
    try {
      (void)floats_of(damaged.set("memory"), "l", outputs, inputs);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  const Layout nf4 = Layout::bitsandbytes_nf4, int8 = Layout::bitsandbytes_int8;
  const auto contains = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  const std::string state = "l.weight.quant_state.bitsandbytes__nf4";
  EXPECT_PRED2(contains, refusal(nf4, true, "l.weight", DType::u8, {256}, std::string(256, 'a')),
               "shape [256]");
  EXPECT_PRED2(contains, refusal(nf4, true, "l.weight", DType::i8, {256, 1}, std::string(256, 'a')),
               "is I8");
  EXPECT_PRED2(contains,
               refusal(nf4, true, "l.weight.absmax", DType::f32, {8}, std::string(32, 'a')),
               "is F32");
  EXPECT_PRED2(contains, refusal(nf4, true, "l.weight.nested_absmax", DType::f32, {}, ""),
               "nested_absmax");
  EXPECT_PRED2(contains,
               refusal(nf4, true, "l.weight.quant_map", DType::f32, {16}, std::string(64, 1)),
               "table");
  const auto said = [&](const std::string& text) {
    return refusal(nf4, false, state, DType::u8, {static_cast<std::int64_t>(text.size())}, text);
  };
  EXPECT_PRED2(contains, said("{\"blocksize\": 64, \"shape\": [64, 8]}"), "[8, 64]");
  EXPECT_PRED2(contains, said("{\"blocksize\": 0, \"shape\": [8, 64]}"), "blocksize");
  EXPECT_PRED2(contains, said("{\"blocksize\": 32, \"shape\": [8, 64]}"), "expected [16]");
  EXPECT_PRED2(contains, said("{\"shape\": [8, 64]}"), "blocksize");
  EXPECT_PRED2(contains, said("nonsense"), "byte 0");
  EXPECT_EQ(said("{\"blocksize\": 64, \"shape\": [8, 64]}"), "accepted");
  EXPECT_PRED2(contains, refusal(int8, false, "l.SCB", DType::f32, {4}, std::string(16, 'a')),
               "SCB");
  EXPECT_PRED2(contains, refusal(int8, false, "l.weight_format", DType::u8, {1}, "\1"),
               "row by row");
}

/// A file of one layer and its reader: it reads whole, or gives one line that names it.
TEST(Bitsandbytes, DamagedFilesGiveOneErrorEach) {
  testing::TempDir directory;
  std::size_t number = 0;
  for (const Layout layout : {Layout::bitsandbytes_nf4, Layout::bitsandbytes_int8}) {
    TensorList list;
    add_bitsandbytes(list, as(layout, true), "l", 2, 64, random(128, 4));
    const TensorSet set = list.set("memory");
    const std::string text = safetensors::serialize(set.all());
    const auto load = [&](const std::string& damaged) {
      const std::string path = directory.write("b" + std::to_string(number++), damaged);
      bool loaded = false;
      try {
        (void)floats_of(safetensors::open_file(path), "l", 2, 64);
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
        5, {"\"U8\"", "\"F32\"", "[2,64]", "[64,1]", ".SCB", ".absmax", "\"blocksize\": 64",
            "\"shape\": [2, 64]", "nested_offset", "nested_blocksize\": 256"});
    for (std::size_t i = 0; i < testing::fuzz_count(500) && !HasFailure(); ++i) {
      (void)load(mutator.mutate(text));
    }
  }
}

}  // namespace
}  // namespace quire::checkpoint
