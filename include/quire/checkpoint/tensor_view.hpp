#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/text.hpp>

namespace quire::checkpoint {

/// Element types that a checkpoint may store, named as in safetensors; the last ones come in blocks of
/// several with their scales, in ggml's layouts, in GGUF files alone.
enum class DType {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  f64,
  i64,
  u64,
  q4_0,
  q8_0,
  q4_k,
  q5_k,
  q6_k
};

namespace detail {
struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::int64_t size;
  std::int64_t block = 1;
};
inline constexpr DTypeRow dtype_rows[] = {{DType::boolean, "BOOL", 1},
                                          {DType::u8, "U8", 1},
                                          {DType::i8, "I8", 1},
                                          {DType::f8_e5m2, "F8_E5M2", 1},
                                          {DType::f8_e4m3, "F8_E4M3", 1},
                                          {DType::i16, "I16", 2},
                                          {DType::u16, "U16", 2},
                                          {DType::f16, "F16", 2},
                                          {DType::bf16, "BF16", 2},
                                          {DType::i32, "I32", 4},
                                          {DType::u32, "U32", 4},
                                          {DType::f32, "F32", 4},
                                          {DType::f64, "F64", 8},
                                          {DType::i64, "I64", 8},
                                          {DType::u64, "U64", 8},
                                          {DType::q4_0, "Q4_0", 18, 32},
                                          {DType::q8_0, "Q8_0", 34, 32},
                                          {DType::q4_k, "Q4_K", 144, 256},
                                          {DType::q5_k, "Q5_K", 176, 256},
                                          {DType::q6_k, "Q6_K", 210, 256}};
}  // namespace detail

/// Bytes of one element, or of one block of them.
[[nodiscard]] constexpr std::int64_t size_of(DType dtype) {
  return detail::dtype_rows[static_cast<std::size_t>(dtype)].size;
}
/// Elements that are packed together.
[[nodiscard]] constexpr std::int64_t block_of(DType dtype) {
  return detail::dtype_rows[static_cast<std::size_t>(dtype)].block;
}
/// The name that safetensors uses, or ggml where elements come in blocks.
[[nodiscard]] constexpr std::string_view name_of(DType dtype) {
  return detail::dtype_rows[static_cast<std::size_t>(dtype)].name;
}
/// Finds the element type that safetensors calls `name`, if there is one.
[[nodiscard]] constexpr std::optional<DType> dtype_named(std::string_view name) {
  for (const auto& row : detail::dtype_rows) {
    if (row.name == name && row.block == 1) return row.dtype;
  }
  return std::nullopt;
}

/// One tensor of a checkpoint, row-major, little-endian, in memory that a TensorSet keeps alive.
/// The bytes may start at any address: read them with memcpy or `read_floats`, not by a cast.
struct TensorView {
  std::string_view name;
  DType dtype = DType::f32;
  std::span<const std::int64_t> shape;  // empty: a scalar
  std::span<const std::byte> bytes;

  [[nodiscard]] std::int64_t elements() const {
    return static_cast<std::int64_t>(bytes.size()) / size_of(dtype) * block_of(dtype);
  }
  [[nodiscard]] bool has_shape(std::span<const std::int64_t> wanted) const {
    return shape.size() == wanted.size() && std::equal(shape.begin(), shape.end(), wanted.begin());
  }
};

/// Writes a shape as "[2, 3]".
[[nodiscard]] inline std::string shape_text(std::span<const std::int64_t> shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) out += ", ";
    out += std::to_string(shape[i]);
  }
  return out + "]";
}

namespace detail {
template <class T>
[[nodiscard]] T load_unaligned(const std::byte* at) {
  static_assert(std::endian::native == std::endian::little, "quire: needs a little-endian machine");
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
}  // namespace detail

/// Converts `out.size()` elements, from element `first` on, to float; exact for f32, f16 and bf16.
/// \shape out: any part of the flat tensor
/// \pre first >= 0 and first + out.size() <= tensor.elements()
/// \errors usage when the range lies outside the tensor; data when its elements are no floats
inline void read_floats(const TensorView& tensor, std::int64_t first, std::span<float> out) {
  const auto count = static_cast<std::int64_t>(out.size());
  if (first < 0 || first > tensor.elements() || count > tensor.elements() - first) {
    throw usage_error("tensor " + in_quotes(tensor.name), "elements asked for lie outside it",
                      "at most " + std::to_string(tensor.elements()) + " elements");
  }
  const std::byte* from =
      tensor.bytes.data() + first / block_of(tensor.dtype) * size_of(tensor.dtype);
  switch (tensor.dtype) {
    case DType::f32:
      if (count > 0) std::memcpy(out.data(), from, out.size_bytes());
      return;
    case DType::f16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = to_float(detail::load_unaligned<Fp16>(from + 2 * i));
      }
      return;
    case DType::bf16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = to_float(detail::load_unaligned<Bf16>(from + 2 * i));
      }
      return;
    case DType::f64:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<float>(detail::load_unaligned<double>(from + 8 * i));
      }
      return;
    default:
      throw data_error("tensor " + in_quotes(tensor.name),
                       "elements are " + std::string(name_of(tensor.dtype)),
                       "F32, F16, BF16 or F64");
  }
}

}  // namespace quire::checkpoint
