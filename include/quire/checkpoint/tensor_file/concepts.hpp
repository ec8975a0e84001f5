#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/file_load/file_load.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/tensor_set.hpp>

namespace quire {

namespace checkpoint {

using safetensors::Declared;

/// The data of tensor i, asked for in order; valid until the next is asked for.
using BytesOf = std::function<std::span<const std::byte>(std::size_t i)>;

}  // namespace checkpoint

/// How the tensors of a model are written as one file and read again.
/// - file: its name in a checkpoint's directory.
/// - write(path, tensors, bytes_of): an old file is replaced at once, or kept. \pre names are unique
///   \errors usage for what the format has no place for; state when the file cannot be written
/// - open(path, loader): the same tensors, bit for bit. \errors data, one line with file, place and what
///   was expected, for anything that write cannot have written
template <class F>
concept TensorFileFormat = requires(const std::string& path,
                                    std::span<const checkpoint::Declared> tensors,
                                    const checkpoint::BytesOf& bytes_of,
                                    const checkpoint::FileLoader& loader) {
  { F::name } -> std::convertible_to<std::string_view>;
  { F::file } -> std::convertible_to<std::string_view>;
  { F::write(path, tensors, bytes_of) } -> std::same_as<void>;
  { F::open(path, loader) } -> std::same_as<checkpoint::TensorSet>;
};

}  // namespace quire
