#pragma once

#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/tensor_file/concepts.hpp>

namespace quire::checkpoint::tensor_file {

/// What checkpoints are published in: an index in JSON, then all tensors without a gap. Opening reads the
/// index alone; tensors are used where the file lies in memory.
/// \source huggingface/safetensors
struct Safetensors {
  static constexpr std::string_view name = "safetensors";
  static constexpr std::string_view file = "model.safetensors";

  static void write(const std::string& path, std::span<const Declared> tensors,
                    const BytesOf& bytes_of) {
    safetensors::write(path, tensors, bytes_of);
  }
  [[nodiscard]] static TensorSet open(const std::string& path, const FileLoader& loader) {
    return safetensors::open_file(path, loader);
  }
};
static_assert(TensorFileFormat<Safetensors>);

}  // namespace quire::checkpoint::tensor_file
