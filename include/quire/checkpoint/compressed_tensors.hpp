#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/blockwise.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float8.hpp>
#include <quire/weight_format/grouped.hpp>

namespace quire::checkpoint {

/// One linear layer as compressed-tensors stores it (llm-compressor, vLLM), read some rows at a time.
/// pack-quantized: weight_packed I32 (outputs, words), weight_scale (outputs, groups), weight_shape I64 (2)
/// and, unless symmetric, weight_zero_point I32 (words of outputs, groups). int-quantized and
/// float-quantized: weight I8 or F8_E4M3 (outputs, inputs), weight_scale (outputs, 1) or of one element.
/// Scales are F32, F16 or BF16. \source compressed-tensors 0.20, compressors/pack_quantized and
/// naive_quantized
class CompressedMatrix {
 public:
  using Layout = Quantisation::Layout;

  /// Whether a layer is stored so; others of the same checkpoint may be floats.
  [[nodiscard]] static bool stores(const TensorSet& tensors, const std::string& name) {
    return tensors.contains(name + ".weight_packed") || tensors.contains(name + ".weight_scale");
  }

  /// \errors data, with the tensor, when one is missing or has another shape or type
  CompressedMatrix(const TensorSet& tensors, const Quantisation& q, const std::string& name,
                   std::size_t outputs, std::size_t inputs)
      : layout_(q.layout), inputs_(inputs) {
    if (layout_ == Layout::compressed_packed) {
      read_packed(tensors, q, name, outputs);
      return;
    }
    const auto n = static_cast<std::int64_t>(outputs), k = static_cast<std::int64_t>(inputs);
    check_type(tensors, name + ".weight",
               layout_ == Layout::compressed_int8 ? DType::i8 : DType::f8_e4m3);
    bytes_ = tensors.at(name + ".weight", {n, k}).bytes;
    const std::string scale = name + ".weight_scale";
    if (tensors.at(scale).elements() == 1) {
      scales_.assign(outputs, floats_of(tensors, tensors.at(scale)).front());
    } else {
      scales_ = floats_of(tensors, tensors.at(scale, {n, 1}));
    }
    held_ = reaches_the_end(outputs);
  }

  /// The integers, where they and their scales fit; else null. Scales are fp16 there.
  [[nodiscard]] std::shared_ptr<const weight_format::Grouped> codes() const {
    return held_ ? codes_ : nullptr;
  }
  /// Weight formats that hold these numbers as they are, beside floats; empty where codes() does.
  [[nodiscard]] std::vector<std::string_view> held_by() const {
    if (layout_ == Layout::compressed_packed) {
      return held_ ? std::vector<std::string_view>{} : std::vector<std::string_view>{"fp32"};
    }
    if (!held_) return {"fp32"};
    if (layout_ == Layout::compressed_fp8) return {"fp8_w8a8"};
    return {"w8a8", "llm_int8"};
  }

  /// \shape values (count, inputs)
  void read(std::size_t first, std::size_t count, float* values) const {
    for (std::size_t n = first; n < first + count; ++n) {
      for (std::size_t i = 0; i < inputs_; ++i) *values++ = at(n, i);
    }
  }

 private:
  [[nodiscard]] float at(std::size_t n, std::size_t i) const {
    if (layout_ == Layout::compressed_packed) {
      const std::size_t g = codes_->group_at(n, i);
      const int code = codes_->codes[n * inputs_ + i] - codes_->zeros[g];
      return static_cast<float>(code) * scales_[g];
    }
    const std::byte byte = bytes_[n * inputs_ + i];
    if (layout_ == Layout::compressed_fp8) {
      return to_float(E4m3{static_cast<std::uint8_t>(byte)}) * scales_[n];
    }
    return static_cast<float>(static_cast<std::int8_t>(byte)) * scales_[n];
  }

  [[nodiscard]] static std::vector<float> floats_of(const TensorSet& tensors,
                                                    const TensorView& view) {
    if (view.dtype != DType::f32 && view.dtype != DType::f16 && view.dtype != DType::bf16) {
      throw data_error(
          tensors.where(),
          "tensor " + in_quotes(view.name, 120) + " is " + std::string(name_of(view.dtype)),
          "F32, F16 or BF16");
    }
    std::vector<float> out(static_cast<std::size_t>(view.elements()));
    read_floats(view, 0, out);
    return out;
  }

  void read_packed(const TensorSet& tensors, const Quantisation& q, const std::string& name,
                   std::size_t outputs) {
    const std::string where = tensors.where() + ": " + in_quotes(name, 120);
    const std::size_t group = q.group == 0 ? inputs_ : q.group;
    if (group == 0 || inputs_ % group != 0) {
      throw data_error(where, "groups of " + std::to_string(group),
                       "a divisor of its " + std::to_string(inputs_) + " inputs");
    }
    const auto n = static_cast<std::int64_t>(outputs), k = static_cast<std::int64_t>(inputs_);
    const auto groups = static_cast<std::int64_t>(inputs_ / group);
    const auto stated = elements_of<std::int64_t>(tensors, name + ".weight_shape", DType::i64, {2});
    if (stated[0] != n || stated[1] != k) {
      throw data_error(where, "weight_shape says " + shape_text(stated),
                       shape_text(std::vector<std::int64_t>{n, k}));
    }
    const std::int64_t words = (k * q.bits + 31) / 32;
    auto packed =
        elements_of<std::uint32_t>(tensors, name + ".weight_packed", DType::i32, {n, words});
    scales_ = floats_of(tensors, tensors.at(name + ".weight_scale", {n, groups}));
    std::vector<std::uint32_t> zeros;
    if (!q.symmetric) {
      zeros = elements_of<std::uint32_t>(tensors, name + ".weight_zero_point", DType::i32,
                                         {(n * q.bits + 31) / 32, groups});
    }
    // Only now is it known that the file is as large as the matrix.
    auto m = std::make_shared<weight_format::Grouped>(outputs, inputs_, q.bits, group);
    const auto wide = static_cast<std::size_t>(words), count = m->groups();
    held_ = true;
    for (std::size_t o = 0; o < outputs; ++o) {
      const detail::WordCodes row(&packed[o * wide], 1, q.bits);
      for (std::size_t i = 0; i < inputs_; ++i) {
        m->codes[o * inputs_ + i] = static_cast<std::uint8_t>(row.get(i));
      }
      for (std::size_t g = 0; g < count; ++g) {
        const std::size_t at = o * count + g;
        m->zeros[at] = static_cast<std::uint8_t>(
            q.symmetric ? 1u << (q.bits - 1) : detail::WordCodes(&zeros[g], count, q.bits).get(o));
        m->scales[at] = to_fp16(scales_[at]);
        held_ = held_ && to_float(m->scales[at]) == scales_[at];
      }
    }
    codes_ = std::move(m);
  }

  /// Whether each output has a code of the largest magnitude, as rounding gives it: then rounding again
  /// finds the same scale and codes.
  [[nodiscard]] bool reaches_the_end(std::size_t outputs) const {
    for (std::size_t n = 0; n < outputs; ++n) {
      int most = 0;
      for (std::size_t i = 0; i < inputs_; ++i) {
        const auto byte = static_cast<std::uint8_t>(bytes_[n * inputs_ + i]);
        most = std::max(most, layout_ == Layout::compressed_fp8
                                  ? static_cast<int>(byte & 127)
                                  : std::abs(static_cast<int>(static_cast<std::int8_t>(byte))));
      }
      if (most != (layout_ == Layout::compressed_fp8 ? 126 : 127)) return false;
    }
    return true;
  }

  Layout layout_;
  std::size_t inputs_ = 0;
  std::span<const std::byte> bytes_;  // of weights, in the mapped file, which the set keeps
  std::vector<float> scales_;         // of groups, or of outputs
  std::shared_ptr<const weight_format::Grouped> codes_;
  bool held_ = false;
};

/// Rounds one linear layer to bytes with a scale an output, as W8a8 and Fp8W8a8 do, and adds it;
/// CompressedMatrix reads it. \pre q.layout is compressed_int8 or compressed_fp8
/// \shape values (outputs, inputs)
inline void add_compressed_bytes(TensorList& out, const Quantisation& q, const std::string& name,
                                 std::size_t outputs, std::size_t inputs,
                                 std::span<const float> values) {
  const bool floats = q.layout == Quantisation::Layout::compressed_fp8;
  std::vector<std::uint8_t> codes(values.size());
  std::vector<float> scales(outputs);
  for (std::size_t n = 0; n < outputs; ++n) {
    const float* row = values.data() + n * inputs;
    scales[n] = blockwise::largest(row, inputs) / (floats ? 448.0f : 127.0f);
    const float steps = blockwise::inverse_of(scales[n]);
    for (std::size_t i = 0; i < inputs; ++i) {
      codes[n * inputs + i] = floats ? to_e4m3(row[i] * steps).bits
                                     : static_cast<std::uint8_t>(static_cast<std::int8_t>(
                                           blockwise::nearest(row[i] * steps, -127, 127)));
    }
  }
  using Sizes = std::vector<std::int64_t>;
  const auto n = static_cast<std::int64_t>(outputs), k = static_cast<std::int64_t>(inputs);
  out.add(name + ".weight", floats ? DType::f8_e4m3 : DType::i8, Sizes{n, k}, std::move(codes));
  out.add(name + ".weight_scale", DType::f32, Sizes{n, 1}, std::move(scales));
}

}  // namespace quire::checkpoint
