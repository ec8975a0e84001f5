#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quire/checkpoint/file_writer.hpp>
#include <quire/checkpoint/ggml_blocks.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/checkpoint/gguf/metadata.hpp>
#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/text.hpp>

/// Writes GGUF files, version 3. \source ggml, docs/gguf.md
namespace quire::checkpoint::gguf {

namespace detail {
template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint64_t>(text.size()));
  out.append(text);
}
template <class T>
[[nodiscard]] constexpr Type type_of() {
  if constexpr (std::is_same_v<T, bool>) {
    return Type::boolean;
  } else if constexpr (std::is_same_v<T, float>) {
    return Type::f32;
  } else if constexpr (std::is_same_v<T, std::uint32_t>) {
    return Type::u32;
  } else {
    static_assert(std::is_same_v<T, std::int32_t>, "quire: gguf: bool, float, u32 or i32");
    return Type::i32;
  }
}
}  // namespace detail

/// Metadata on its way into a file, in the order given. \pre each key once
class MetadataText {
 public:
  template <class T>
  void add(std::string_view key, T value) {
    begin(key, detail::type_of<T>());
    detail::put(text_, value);
  }
  void add_text(std::string_view key, std::string_view value) {
    begin(key, Type::string);
    detail::put_text(text_, value);
  }
  void add_texts(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, Type::string, values.size());
    for (const std::string& v : values) detail::put_text(text_, v);
  }
  template <class T>
  void add_array(std::string_view key, const std::vector<T>& values) {
    begin_array(key, detail::type_of<T>(), values.size());
    for (const T v : values) detail::put(text_, v);
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void begin(std::string_view key, Type type) {
    detail::put_text(text_, key);
    detail::put(text_, static_cast<std::uint32_t>(type));
    ++count_;
  }
  void begin_array(std::string_view key, Type element, std::size_t count) {
    begin(key, Type::array);
    detail::put(text_, static_cast<std::uint32_t>(element));
    detail::put(text_, static_cast<std::uint64_t>(count));
  }
  std::string text_;
  std::uint64_t count_ = 0;
};

/// A tensor on its way into a file: read row by row, so that no copy of it ever exists.
struct TensorSource {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;  // outermost first
  /// Writes row r of all dimensions but the last taken together. \shape values (shape.back())
  std::function<void(std::int64_t r, float* values)> read_row;

  [[nodiscard]] std::int64_t rows() const {
    std::int64_t n = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
    return n;
  }
  [[nodiscard]] std::int64_t row_bytes() const {
    return shape.back() / block_of(dtype) * checkpoint::size_of(dtype);
  }
};

namespace detail {

[[nodiscard]] inline std::uint32_t number_of(DType dtype) {
  const bool floats = dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
  for (const TensorType& t : tensor_types) {
    if (t.dtype == dtype && (floats || block_of(dtype) > 1)) return t.number;
  }
  throw usage_error("GGUF", "tensors of " + std::string(checkpoint::name_of(dtype)),
                    "F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K");
}

/// One row as the file has it. \shape values (n); bytes as many as the type takes
inline void encode_row(DType dtype, const float* values, std::size_t n, std::byte* bytes) {
  if (const BlockFunctions f = functions_of(dtype); f.encode != nullptr) {
    const auto block = static_cast<std::size_t>(block_of(dtype));
    for (std::size_t i = 0; i < n; i += block) {
      f.encode(values + i, bytes);
      bytes += checkpoint::size_of(dtype);
    }
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (dtype == DType::f16) {
      blockwise::put(bytes + 2 * i, to_fp16(values[i]));
    } else if (dtype == DType::bf16) {
      blockwise::put(bytes + 2 * i, to_bf16(values[i]));
    } else {
      blockwise::put(bytes + 4 * i, values[i]);
    }
  }
}

}  // namespace detail

/// Writes a file; an old one of that name is replaced at once, or kept.
/// \errors usage for rows that are no whole number of a type's blocks, and for types that are not
/// written; state when the file cannot be written
inline void write_file(const std::string& path, const MetadataText& metadata,
                       const std::vector<TensorSource>& tensors) {
  constexpr std::size_t alignment = 32;
  const auto padded = [](std::size_t n) { return (n + alignment - 1) / alignment * alignment; };
  std::string header(magic);
  detail::put(header, std::uint32_t{3});
  detail::put(header, static_cast<std::uint64_t>(tensors.size()));
  detail::put(header, metadata.count());
  header += metadata.text();
  std::uint64_t offset = 0;
  for (const TensorSource& t : tensors) {
    if (t.shape.back() % block_of(t.dtype) != 0) {
      throw usage_error("tensor " + in_quotes(t.name, 120),
                        "rows of " + std::to_string(t.shape.back()) + " are no whole number of " +
                            std::string(checkpoint::name_of(t.dtype)) + " blocks",
                        "a multiple of " + std::to_string(block_of(t.dtype)) + ", or another type");
    }
    detail::put_text(header, t.name);
    detail::put(header, static_cast<std::uint32_t>(t.shape.size()));
    for (std::size_t i = t.shape.size(); i-- > 0;) {
      detail::put(header, static_cast<std::uint64_t>(t.shape[i]));
    }
    detail::put(header, detail::number_of(t.dtype));
    detail::put(header, offset);
    offset += padded(static_cast<std::size_t>(t.rows() * t.row_bytes()));
  }
  header.resize(padded(header.size()), '\0');

  FileWriter file(path);
  file.write(header);
  std::vector<float> values;
  std::vector<std::byte> bytes;
  for (const TensorSource& t : tensors) {
    values.resize(static_cast<std::size_t>(t.shape.back()));
    bytes.resize(static_cast<std::size_t>(t.row_bytes()));
    for (std::int64_t r = 0; r < t.rows(); ++r) {
      t.read_row(r, values.data());
      detail::encode_row(t.dtype, values.data(), values.size(), bytes.data());
      file.write(bytes);
    }
    file.align(alignment);
  }
  file.finish();
}

}  // namespace quire::checkpoint::gguf
