#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quire {

namespace checkpoint {

/// All bytes of a file, and what keeps them in memory.
struct FileBytes {
  std::string path;
  std::span<const std::byte> bytes;  // starts on a page, if there are any
  std::shared_ptr<const void> owner;
};

}  // namespace checkpoint

/// How the bytes of a checkpoint's files come into memory.
/// - load(path): all bytes of a file. They may come in later, as they are touched.
///   \errors data when it cannot be opened or read, or is not a regular file
template <class L>
concept FileLoadPolicy = requires(const L& load, const std::string& path) {
  { L::name } -> std::convertible_to<std::string_view>;
  { load.load(path) } -> std::same_as<checkpoint::FileBytes>;
};

}  // namespace quire
