// Quantised checkpoints of which one tensor is wrong: each either gives logits, or one line of kind data.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <experiments/quality/calibrated.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/int4_zero_point.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <tests/common/checkpoints.hpp>

namespace quire::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DType;
using checkpoint::TensorSet;
using checkpoint::TensorView;
using Layout = checkpoint::Quantisation::Layout;
using RawBytes = std::vector<std::byte>;

const std::string golden_folder = QUIRE_SOURCE_DIR "/tests/golden/models/";
const std::vector<TokenId> text = {1, 5, 9, 2, 7};

/// The logits, or nothing where the checkpoint is refused as it must be.
std::optional<std::vector<float>> logits(const Checkpoint& model,
                                         const weight_format::WeightCodec& format) {
  try {
    return quality::logits(model, text, format);
  } catch (const Error& e) {
    const std::string_view line = e.what();
    EXPECT_TRUE(e.kind() == ErrorKind::data || e.kind() == ErrorKind::usage) << line;
    EXPECT_EQ(line.find('\n'), std::string_view::npos) << line;
    EXPECT_LT(line.size(), 1000u) << line;
  }
  return std::nullopt;
}

/// Another type of elements as large.
DType other_type(DType dtype) {
  switch (checkpoint::size_of(dtype)) {
    case 1:
      return dtype == DType::u8 ? DType::f8_e4m3 : DType::u8;
    case 2:
      return dtype == DType::f16 ? DType::bf16 : DType::f16;
    case 4:
      return dtype == DType::f32 ? DType::i32 : DType::f32;
    default:
      return dtype == DType::i64 ? DType::u64 : DType::i64;
  }
}

enum class Damage { gone, retyped, flat, empty, half, zeros, ones, large };
constexpr Damage all_damage[] = {Damage::gone, Damage::retyped, Damage::flat, Damage::empty,
                                 Damage::half, Damage::zeros,   Damage::ones, Damage::large};

/// One tensor damaged; `memory` holds what its bytes are then.
TensorSet damaged(const TensorSet& from, std::size_t which, Damage how, RawBytes& memory) {
  std::vector<TensorSet::Entry> entries;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const TensorView& t = from.all()[i];
    TensorSet::Entry e{std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}, t.bytes};
    if (i == which) {
      memory.assign(t.bytes.begin(), t.bytes.end());
      if (how == Damage::gone) continue;
      if (how == Damage::retyped) e.dtype = other_type(t.dtype);
      if (how == Damage::flat) e.shape = {t.elements()};
      if (how == Damage::empty) {
        e.shape.assign(std::max<std::size_t>(1, e.shape.size()), 0);
        memory.clear();
      }
      if (how == Damage::half && !e.shape.empty()) {
        const std::int64_t rows = e.shape.front();
        e.shape.front() = rows / 2;
        memory.resize(memory.size() / static_cast<std::size_t>(rows) *
                      static_cast<std::size_t>(rows / 2));
      }
      const auto fill = [&](unsigned byte) {
        std::fill(memory.begin(), memory.end(), static_cast<std::byte>(byte));
      };
      if (how == Damage::zeros) fill(0);
      if (how == Damage::ones) fill(0xff);  // NaN in every type of floats
      if (how == Damage::large) fill(0x7f);
      e.bytes = memory;
    }
    entries.push_back(std::move(e));
  }
  return {from.where(), std::move(entries), {}};
}

void expect_sound(const Checkpoint& model, const weight_format::WeightCodec& format) {
  ASSERT_TRUE(logits(model, format).has_value());
  std::size_t refused = 0, read = 0;
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const std::string name(model.tensors.all()[i].name);
    if (name.find("layers.1.") != std::string::npos) continue;  // as layer 0
    for (const Damage how : all_damage) {
      RawBytes memory;
      Checkpoint other = model;
      other.tensors = damaged(model.tensors, i, how, memory);
      const auto found = logits(other, format);
      (found ? read : refused) += 1;
      if (how == Damage::empty) {
        EXPECT_FALSE(found.has_value()) << name;
      }
      if (how != Damage::zeros || !found) continue;
      for (const float x : *found) ASSERT_TRUE(std::isfinite(x)) << name;
    }
  }
  EXPECT_GT(refused, 20u);
  EXPECT_GT(read, 20u);
  for (const std::size_t group : {1u, 5u, 24u, 64u, 1u << 20}) {
    for (const unsigned bits : {2u, 3u, 4u, 8u}) {
      Checkpoint other = model;
      other.config.quantisation->group = group;
      other.config.quantisation->bits = bits;
      (void)logits(other, format);
    }
  }
}

TEST(DamagedQuantised, CheckpointsOfOtherToolsAreReadOrRefused) {
  for (const char* name : {"bitsandbytes_nf4", "bitsandbytes_fp4", "bitsandbytes_int8",
                           "compressed_int4", "compressed_int8", "compressed_fp8"}) {
    SCOPED_TRACE(name);
    expect_sound(quire::testing::opened(golden_folder + "llama_" + name),
                 weight_format::codec_of<weight_format::Fp32>());
  }
}

TEST(DamagedQuantised, CheckpointsOfGptqAndAwqAreReadOrRefused) {
  const Checkpoint floats = quire::testing::opened(golden_folder + "llama");
  using Own = weight_format::LinearOnly<weight_format::Int4ZeroPoint<32>, weight_format::Fp32>;
  for (const Layout layout : {Layout::gptq, Layout::awq, Layout::compressed_packed}) {
    SCOPED_TRACE(static_cast<int>(layout));
    CalibrationOptions o;
    o.method = CalibrationOptions::Method::round_to_nearest;
    o.group = 32;
    o.symmetric = layout == Layout::gptq;
    o.layout = layout;
    const Checkpoint made = quality::calibrate(floats, {text}, o);
    expect_sound(made, weight_format::codec_of<weight_format::Fp32>());
    expect_sound(made, weight_format::codec_of<Own>());
  }
}

}  // namespace
}  // namespace quire::model
