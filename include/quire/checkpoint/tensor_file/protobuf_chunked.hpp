#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/tensor_file/concepts.hpp>
#include <quire/checkpoint/tensor_file/protobuf_wire.hpp>

namespace quire::checkpoint::tensor_file {

/// A model as a sequence of Protocol Buffers messages of 1 MiB, which the library's authors give as the
/// most that a message should have: no limit on the whole. Reading copies every byte.
/// \source protobuf.dev, "Techniques": large data sets, streaming multiple messages
struct ProtobufChunked {
  static constexpr std::string_view name = "protobuf_chunked";
  static constexpr std::string_view file = "model.chunks.pb";
  static constexpr std::uint64_t chunk = std::uint64_t{1} << 20;  // bytes of data

  static void write(const std::string& path, std::span<const Declared> tensors,
                    const BytesOf& bytes_of) {
    protobuf::write(path, tensors, bytes_of, chunk);
  }
  [[nodiscard]] static TensorSet open(const std::string& path, const FileLoader& loader) {
    const FileBytes loaded = loader.load(path);
    return protobuf::Reader(loaded.bytes, path, std::numeric_limits<std::uint64_t>::max()).read();
  }
};
static_assert(TensorFileFormat<ProtobufChunked>);

}  // namespace quire::checkpoint::tensor_file
