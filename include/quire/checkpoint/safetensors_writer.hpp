#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>

#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json.hpp>

namespace quire::checkpoint::safetensors {

/// Serialises tensors in the order given, their data aligned to 8 bytes, as one safetensors file.
/// \pre names are unique; each tensor's bytes match its shape and dtype
/// \errors usage when a tensor's bytes do not match its shape
[[nodiscard]] inline std::string serialize(std::span<const TensorView> tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  std::uint64_t at = 0;
  for (const TensorView& tensor : tensors) {
    std::int64_t bytes = size_of(tensor.dtype);
    for (std::int64_t dim : tensor.shape) bytes *= dim;
    if (bytes != static_cast<std::int64_t>(tensor.bytes.size())) {
      throw usage_error("tensor " + in_quotes(tensor.name),
                        std::to_string(tensor.bytes.size()) + " bytes given",
                        std::to_string(bytes) + " as dtype and shape say");
    }
    header += "," + json::quote(tensor.name) + ":{\"dtype\":\"" +
              std::string(name_of(tensor.dtype)) + "\",\"shape\":" + shape_text(tensor.shape) +
              ",\"data_offsets\":[" + std::to_string(at) + "," +
              std::to_string(at + tensor.bytes.size()) + "]}";
    at += tensor.bytes.size();
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');

  std::string out;
  out.reserve(8 + header.size() + at);
  for (int shift = 0; shift < 64; shift += 8) {
    out.push_back(static_cast<char>((header.size() >> shift) & 0xFF));
  }
  out += header;
  for (const TensorView& tensor : tensors) {
    out.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  }
  return out;
}

/// Writes tensors as one safetensors file; an old file of that name is replaced at once, or kept.
/// \errors usage when a tensor's bytes do not match its shape; state when the file cannot be
/// written
inline void save(const std::string& path, std::span<const TensorView> tensors) {
  const std::string text = serialize(tensors);
  const std::string temporary = path + ".part";
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr) throw state_error(temporary, "cannot open it for writing");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  std::error_code failed;
  if (written && closed) std::filesystem::rename(temporary, path, failed);
  if (!written || !closed || failed) {
    std::remove(temporary.c_str());
    throw state_error(path, "cannot write it");
  }
}

}  // namespace quire::checkpoint::safetensors
