#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/blockwise.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>
#include <quire/weight_format/bitsandbytes.hpp>

/// Linear layers as bitsandbytes stores them in safetensors files: NAME.weight holds the codes, what they
/// need lies in tensors beside it.
/// \source bitsandbytes 0.50: QuantState.as_dict(packed = True), Linear8bitLt; golden files made by it.
namespace quire::checkpoint {

/// One linear layer in bitsandbytes' layouts, read some rows at a time; codes stay where the file is mapped.
/// 4 bits: weight U8 (values / 2, 1), weight.absmax F32 or, nested, U8 (blocks), weight.quant_map F32 (16),
/// weight.nested_absmax F32 (blocks / 256), weight.nested_quant_map F32 (256), and
/// weight.quant_state.bitsandbytes__nf4 (or fp4), the bytes of a JSON object with sizes.
/// 8 bits: weight I8 (outputs, inputs), SCB F32 (outputs), weight_format U8, 0 or absent.
class BitsandbytesMatrix {
 public:
  using Layout = Quantisation::Layout;

  /// Whether a layer is stored so; others of the same checkpoint may be floats.
  [[nodiscard]] static bool stores(const TensorSet& tensors, const std::string& name) {
    return tensors.contains(name + ".SCB") || tensors.contains(state_name(name, false)) ||
           tensors.contains(state_name(name, true));
  }

  /// \errors data, with the tensor, when one is missing, has another shape or type, or says what no
  /// such layer can mean
  BitsandbytesMatrix(const TensorSet& tensors, const std::string& name, std::size_t outputs,
                     std::size_t inputs)
      : inputs_(inputs) {
    const auto n = static_cast<std::int64_t>(outputs), k = static_cast<std::int64_t>(inputs);
    if (tensors.contains(name + ".SCB")) {
      layout_ = Layout::bitsandbytes_int8;
      block_ = inputs;
      codes_ = bytes_of(tensors, name + ".weight", DType::i8, {n, k});
      scales_ = elements_of<float>(tensors, name + ".SCB", DType::f32, {n});
      for (float& s : scales_) s /= 127.0f;
      check_order(tensors, name + ".weight_format");
      return;
    }
    const bool nf4 = tensors.contains(state_name(name, true));
    layout_ = nf4 ? Layout::bitsandbytes_nf4 : Layout::bitsandbytes_fp4;
    read_scales(tensors, name + ".weight", state_name(name, nf4), {n, k});
    codes_ = bytes_of(tensors, name + ".weight", DType::u8, {(n * k + 1) / 2, 1});
  }

  [[nodiscard]] Layout layout() const { return layout_; }
  /// Weight formats that hold these numbers as they are, beside floats.
  [[nodiscard]] std::vector<std::string_view> held_by() const {
    if (layout_ == Layout::bitsandbytes_int8) return {"w8a8", "llm_int8"};
    const bool whole = block_ == weight_format::bitsandbytes::block && inputs_ % block_ == 0;
    if (!whole) return {"fp32"};
    return {layout_ == Layout::bitsandbytes_nf4 ? "nf4" : "fp4"};
  }

  /// \shape values (count, inputs)
  void read(std::size_t first, std::size_t count, float* values) const {
    const std::size_t begin = first * inputs_, end = begin + count * inputs_;
    if (layout_ == Layout::bitsandbytes_int8) {
      for (std::size_t i = begin; i < end; ++i) {
        *values++ = static_cast<float>(static_cast<std::int8_t>(codes_[i])) * scales_[i / inputs_];
      }
      return;
    }
    for (std::size_t i = begin; i < end; ++i) {
      const unsigned code = static_cast<unsigned>(codes_[i / 2]) >> (i % 2 == 0 ? 4 : 0) & 15;
      *values++ = table()[code] * scales_[i / block_];
    }
  }

 private:
  [[nodiscard]] static std::string state_name(const std::string& name, bool nf4) {
    return name + ".weight.quant_state.bitsandbytes__" + (nf4 ? "nf4" : "fp4");
  }
  [[nodiscard]] const std::array<float, 16>& table() const {
    return layout_ == Layout::bitsandbytes_nf4 ? blockwise::nf4_codes
                                               : weight_format::bitsandbytes::fp4_codes;
  }

  [[nodiscard]] static std::span<const std::byte> bytes_of(
      const TensorSet& tensors, const std::string& name, DType dtype,
      std::initializer_list<std::int64_t> shape) {
    check_type(tensors, name, dtype);
    return tensors.at(name, shape).bytes;
  }
  static void check_order(const TensorSet& tensors, const std::string& name) {
    const TensorView* found = tensors.find(name);
    if (found == nullptr) return;
    if (found->dtype == DType::u8 && found->bytes.size() == 1 && found->bytes[0] == std::byte{0}) {
      return;
    }
    throw data_error(tensors.where(), "tensor " + in_quotes(name, 120) + " is no 0",
                     "weights that lie row by row");
  }

  void read_scales(const TensorSet& tensors, const std::string& weight, const std::string& state,
                   std::initializer_list<std::int64_t> shape) {
    const std::string where = tensors.where() + ": " + in_quotes(state, 120);
    check_type(tensors, state, DType::u8);
    const std::span<const std::byte> bytes = tensors.at(state).bytes;
    const json::Value root =
        json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where,
                    {.depth = 4, .values = 100});
    const json::Field field(root, where);
    const json::Field dims = field.at("shape");
    std::vector<std::int64_t> stated;
    for (std::size_t i = 0; i < dims.array().size(); ++i) stated.push_back(dims.at(i).integer(0));
    if (!std::equal(stated.begin(), stated.end(), shape.begin(), shape.end())) {
      throw dims.error("a matrix " + shape_text(stated), shape_text({shape.begin(), shape.size()}));
    }
    block_ = static_cast<std::size_t>(field.at("blocksize").integer(32, 4096));
    const auto in_file = elements_of<float>(tensors, weight + ".quant_map", DType::f32, {16});
    if (!std::equal(in_file.begin(), in_file.end(), table().begin())) {
      throw data_error(
          tensors.where(),
          "tensor " + in_quotes(weight + ".quant_map", 120) + " is not the table of its type",
          "that of bitsandbytes");
    }
    const std::int64_t values = shape.begin()[0] * shape.begin()[1];
    const std::int64_t blocks = ceil_div(values, static_cast<std::int64_t>(block_));
    if (!field.find_set("nested_blocksize")) {
      scales_ = elements_of<float>(tensors, weight + ".absmax", DType::f32, {blocks});
      return;
    }
    const std::int64_t wide = field.at("nested_blocksize").integer(1, 1 << 20);
    const auto offset = static_cast<float>(field.at("nested_offset").number(-1e30, 1e30));
    const auto codes = elements_of<std::uint8_t>(tensors, weight + ".absmax", DType::u8, {blocks});
    const auto most = elements_of<float>(tensors, weight + ".nested_absmax", DType::f32,
                                         {ceil_div(blocks, wide)});
    const auto map = elements_of<float>(tensors, weight + ".nested_quant_map", DType::f32, {256});
    scales_.resize(codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) {
      scales_[i] = map[codes[i]] * most[i / static_cast<std::size_t>(wide)];
    }
    for (float& s : scales_) s += offset;  // apart: bitsandbytes rounds the product first
  }

  Layout layout_ = Layout::bitsandbytes_nf4;
  std::size_t inputs_ = 0, block_ = 0;
  std::span<const std::byte> codes_;  // in the mapped file, which the set keeps
  std::vector<float> scales_;         // of blocks, or of outputs
};

namespace detail {

/// What QuantState.as_dict writes of sizes and types, as the bytes of JSON.
[[nodiscard]] inline std::vector<std::uint8_t> quant_state_bytes(
    const char* kind, std::size_t outputs, std::size_t inputs, std::string_view dtype,
    const weight_format::bitsandbytes::Scales* nested) {
  char text[320];
  int size = std::snprintf(text, sizeof text,
                           "{\"quant_type\": \"%s\", \"blocksize\": %zu, \"dtype\": \"%.*s\", "
                           "\"shape\": [%zu, %zu]",
                           kind, weight_format::bitsandbytes::block, static_cast<int>(dtype.size()),
                           dtype.data(), outputs, inputs);
  std::string out(text, static_cast<std::size_t>(size));
  if (nested != nullptr) {
    size =
        std::snprintf(text, sizeof text,
                      ", \"nested_blocksize\": %zu, \"nested_dtype\": \"float32\", "
                      "\"nested_offset\": %.9g",
                      weight_format::bitsandbytes::wide_block, static_cast<double>(nested->offset));
    out.append(text, static_cast<std::size_t>(size));
  }
  out += '}';
  return {out.begin(), out.end()};
}

}  // namespace detail

/// Rounds one linear layer and adds it in a layout of bitsandbytes; BitsandbytesMatrix reads it.
/// dtype: what PyTorch calls the type of the weights before, "float32" or "bfloat16"
/// \shape values (outputs, inputs) \pre q.is_bitsandbytes()
inline void add_bitsandbytes(TensorList& out, const Quantisation& q, const std::string& name,
                             std::size_t outputs, std::size_t inputs, std::span<const float> values,
                             std::string_view dtype = "float32") {
  namespace bnb = weight_format::bitsandbytes;
  using Sizes = std::vector<std::int64_t>;
  const auto size = [](const auto& v) { return static_cast<std::int64_t>(v.size()); };
  const std::string weight = name + ".weight";
  const auto n = static_cast<std::int64_t>(outputs), k = static_cast<std::int64_t>(inputs);
  if (q.layout == Quantisation::Layout::bitsandbytes_int8) {
    std::vector<std::int8_t> codes(values.size());
    std::vector<float> most(outputs);
    for (std::size_t o = 0; o < outputs; ++o) {
      most[o] = blockwise::largest(values.data() + o * inputs, inputs);
      const float steps = most[o] > 0 ? 127.0f / most[o] : 0.0f;
      for (std::size_t i = o * inputs; i < (o + 1) * inputs; ++i) {
        codes[i] = static_cast<std::int8_t>(blockwise::nearest(values[i] * steps, -127, 127));
      }
    }
    out.add(weight, DType::i8, Sizes{n, k}, std::move(codes));
    out.add(name + ".SCB", DType::f32, Sizes{n}, std::move(most));
    out.add(name + ".weight_format", DType::u8, Sizes{}, std::vector<std::uint8_t>{0});
    return;
  }
  const bool nf4 = q.layout == Quantisation::Layout::bitsandbytes_nf4;
  bnb::Tensor t = bnb::quantise(values, nf4 ? bnb::Kind::nf4 : bnb::Kind::fp4);
  const auto& table = nf4 ? blockwise::nf4_codes : bnb::fp4_codes;
  out.add(weight + ".quant_map", DType::f32, Sizes{16},
          std::vector<float>(table.begin(), table.end()));
  const std::string state = weight + ".quant_state.bitsandbytes__" + (nf4 ? "nf4" : "fp4");
  std::vector<std::uint8_t> said;
  if (q.nested) {
    double sum = 0;
    for (const float a : t.absmax) sum += static_cast<double>(a);
    bnb::Scales s = bnb::quantise_scales(
        t.absmax, static_cast<float>(sum / std::max(1.0, static_cast<double>(t.absmax.size()))));
    said = detail::quant_state_bytes(nf4 ? "nf4" : "fp4", outputs, inputs, dtype, &s);
    const std::int64_t codes = size(s.codes), wide = size(s.absmax);
    out.add(weight + ".absmax", DType::u8, Sizes{codes}, std::move(s.codes));
    out.add(weight + ".nested_absmax", DType::f32, Sizes{wide}, std::move(s.absmax));
    out.add(weight + ".nested_quant_map", DType::f32, Sizes{256},
            std::vector<float>(bnb::dynamic_map.begin(), bnb::dynamic_map.end()));
  } else {
    said = detail::quant_state_bytes(nf4 ? "nf4" : "fp4", outputs, inputs, dtype, nullptr);
    const std::int64_t blocks = size(t.absmax);
    out.add(weight + ".absmax", DType::f32, Sizes{blocks}, std::move(t.absmax));
  }
  const std::int64_t length = size(said), bytes = size(t.packed);
  out.add(state, DType::u8, Sizes{length}, std::move(said));
  out.add(weight, DType::u8, Sizes{bytes, 1}, std::move(t.packed));
}

}  // namespace quire::checkpoint
