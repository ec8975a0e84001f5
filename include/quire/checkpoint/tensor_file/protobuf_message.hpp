#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/tensor_file/concepts.hpp>
#include <quire/checkpoint/tensor_file/protobuf_wire.hpp>
#include <quire/core/error.hpp>

namespace quire::checkpoint::tensor_file {

/// A model as one Protocol Buffers message, as ONNX and TensorFlow keep theirs: each tensor whole, and all
/// together below 2 GiB, because no library reads a longer message. Reading copies every byte.
/// \errors usage, before anything is written, naming the first tensor that does not fit
struct ProtobufMessage {
  static constexpr std::string_view name = "protobuf";
  static constexpr std::string_view file = "model.pb";

  static void write(const std::string& path, std::span<const Declared> tensors,
                    const BytesOf& bytes_of) {
    std::uint64_t bytes = protobuf::end_of(tensors.size()).size();
    for (const Declared& t : tensors) {
      const auto data = static_cast<std::uint64_t>(t.bytes());
      bytes += protobuf::piece_of(t, true, data).size() + data;
      if (bytes <= protobuf::longest_message) continue;
      throw usage_error(path, named(t.name) + " would end at byte " + std::to_string(bytes),
                        "at most " + std::to_string(protobuf::longest_message) +
                            " bytes: " + protobuf::why_no_more);
    }
    protobuf::write(path, tensors, bytes_of, protobuf::longest_message);
  }
  [[nodiscard]] static TensorSet open(const std::string& path, const FileLoader& loader) {
    const FileBytes loaded = loader.load(path);
    return protobuf::Reader(loaded.bytes, path, protobuf::longest_message).read();
  }
};
static_assert(TensorFileFormat<ProtobufMessage>);

}  // namespace quire::checkpoint::tensor_file
