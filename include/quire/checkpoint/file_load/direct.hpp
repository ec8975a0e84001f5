#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_load/read_chunks.hpp>

namespace quire::file_load {

/// Reads a file past the page cache (O_DIRECT) in large chunks on several threads: each byte is moved once,
/// and what others have in the cache stays there. Where the file system does not allow it, as Buffered.
/// \source Fu et al., "ServerlessLLM", 2024, section 4.2: chunks, direct I/O, threads
struct Direct {
  static constexpr std::string_view name = "direct";
  std::size_t threads = 4;
  std::size_t chunk = std::size_t{8} << 20;  // in bytes, a multiple of 4096

  [[nodiscard]] checkpoint::FileBytes load(const std::string& path) const {
    return detail::read_in_chunks(path, threads, chunk, true);
  }
};
static_assert(FileLoadPolicy<Direct>);

}  // namespace quire::file_load
