#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_writer.hpp>
#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json.hpp>

namespace quire::checkpoint::safetensors {

/// A tensor that a file will have.
struct Declared {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;

  [[nodiscard]] std::int64_t bytes() const {
    std::int64_t bytes = size_of(dtype);
    for (const std::int64_t dim : shape) bytes *= dim;
    return bytes;
  }
};

/// What a file says beside its tensors.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// What stands before the data of these tensors, in the order given; they begin at a multiple of
/// `alignment` bytes. \pre names are unique
[[nodiscard]] inline std::string header_of(std::span<const Declared> tensors,
                                           const Metadata& metadata = {{"format", "pt"}},
                                           std::size_t alignment = 8) {
  std::string header = "{\"__metadata__\":{";
  for (const auto& [key, text] : metadata) {
    header += (header.back() == '{' ? "" : ",") + json::quote(key) + ":" + json::quote(text);
  }
  header += "}";
  std::int64_t at = 0;
  for (const Declared& tensor : tensors) {
    const std::int64_t end = at + tensor.bytes();
    header += "," + json::quote(tensor.name) + ":{\"dtype\":\"" +
              std::string(name_of(tensor.dtype)) + "\",\"shape\":" + shape_text(tensor.shape) +
              ",\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(end) + "]}";
    at = end;
  }
  header += "}";
  constexpr std::size_t length = 8;  // what the file begins with
  header.resize((length + header.size() + alignment - 1) / alignment * alignment - length, ' ');
  std::string out;
  for (int shift = 0; shift < 64; shift += 8) {
    out.push_back(static_cast<char>((header.size() >> shift) & 0xFF));
  }
  return out + header;
}

namespace detail {
[[nodiscard]] inline std::vector<Declared> declared(std::span<const TensorView> tensors) {
  std::vector<Declared> out;
  for (const TensorView& t : tensors) {
    out.push_back({std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}});
    if (out.back().bytes() == static_cast<std::int64_t>(t.bytes.size())) continue;
    throw usage_error("tensor " + in_quotes(t.name),
                      std::to_string(t.bytes.size()) + " bytes given",
                      std::to_string(out.back().bytes()) + " as dtype and shape say");
  }
  return out;
}
}  // namespace detail

/// Serialises tensors in the order given as one safetensors file.
/// \pre names are unique; each tensor's bytes match its shape and dtype
/// \errors usage when a tensor's bytes do not match its shape
[[nodiscard]] inline std::string serialize(std::span<const TensorView> tensors) {
  std::string out = header_of(detail::declared(tensors));
  for (const TensorView& tensor : tensors) {
    out.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  }
  return out;
}

/// Writes tensors as one safetensors file; an old file of that name is replaced at once, or kept.
/// durable: as FileWriter::finish. bytes_of(i): the data of tensor i, asked for in order, valid until the next is asked for
/// \errors state when the file cannot be written
template <class BytesOf>
void write(const std::string& path, std::span<const Declared> tensors, BytesOf bytes_of,
           const Metadata& metadata = {{"format", "pt"}}, std::size_t alignment = 8,
           bool durable = false) {
  FileWriter file(path);
  file.write(header_of(tensors, metadata, alignment));
  for (std::size_t i = 0; i < tensors.size(); ++i) file.write(bytes_of(i));
  file.finish(durable);
}

/// The same for tensors in memory.
/// \errors usage when a tensor's bytes do not match its shape; state when the file cannot be
/// written
inline void save(const std::string& path, std::span<const TensorView> tensors) {
  write(path, detail::declared(tensors), [&](std::size_t i) { return tensors[i].bytes; });
}

}  // namespace quire::checkpoint::safetensors
