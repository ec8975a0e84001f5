#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/tensor_file/concepts.hpp>
#include <quire/checkpoint/tensor_file/flatbuffers_index.hpp>
#include <quire/checkpoint/tensor_file/json_text.hpp>
#include <quire/checkpoint/tensor_file/protobuf_chunked.hpp>
#include <quire/checkpoint/tensor_file/protobuf_message.hpp>
#include <quire/checkpoint/tensor_file/safetensors.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::checkpoint {

/// A TensorFileFormat as a value: which one a checkpoint has is known when it is opened.
struct TensorFile {
  std::string_view name;
  std::string_view file;  // in a checkpoint's directory
  std::function<void(const std::string& path, std::span<const Declared>, const BytesOf&)> write;
  std::function<TensorSet(const std::string& path, const FileLoader&)> open;

  /// Writes tensors that are in memory. \errors as write
  void save(const std::string& path, std::span<const TensorView> tensors) const {
    write(path, safetensors::detail::declared(tensors),
          [tensors](std::size_t i) { return tensors[i].bytes; });
  }
};

template <TensorFileFormat Format>
[[nodiscard]] TensorFile tensor_file_of() {
  return {Format::name, Format::file, Format::write, Format::open};
}

/// Those that come with Quire. Two more belong to whole models: GGUF, and images (weight_image.hpp).
[[nodiscard]] inline const auto& tensor_files() {
  using namespace tensor_file;
  static const std::array all{tensor_file_of<Safetensors>(), tensor_file_of<FlatbuffersIndex>(),
                              tensor_file_of<ProtobufMessage>(), tensor_file_of<ProtobufChunked>(),
                              tensor_file_of<JsonText>()};
  return all;
}

/// \errors usage for a name that none of them has
[[nodiscard]] inline const TensorFile& tensor_file_named(std::string_view name) {
  std::string known;
  for (const TensorFile& format : tensor_files()) {
    if (format.name == name) return format;
    known += (known.empty() ? "" : ", ") + std::string(format.name);
  }
  throw usage_error("file format " + in_quotes(name), "there is none of this name", known);
}

/// Opens the weights in a checkpoint's directory: safetensors, in one file or in shards, or else the file of
/// another format.
/// \errors data when none is there, or it is not sound
[[nodiscard]] inline TensorSet open_tensors(const std::string& directory,
                                            const FileLoader& loader = mapped_files()) {
  const std::filesystem::path folder(directory);
  std::error_code ignored;
  for (const TensorFile& format : tensor_files()) {
    if (format.name == tensor_file::Safetensors::name) continue;
    const std::filesystem::path path = folder / format.file;
    if (std::filesystem::exists(path, ignored) &&
        !std::filesystem::exists(folder / "model.safetensors", ignored) &&
        !std::filesystem::exists(folder / "model.safetensors.index.json", ignored)) {
      return format.open(path.string(), loader);
    }
  }
  return safetensors::open_directory(directory, loader);
}

}  // namespace quire::checkpoint
