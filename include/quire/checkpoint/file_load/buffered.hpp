#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_load/read_chunks.hpp>

namespace quire::file_load {

/// Reads a file into memory of our own through the page cache, on several threads. The memory lies on huge
/// pages where the system gives them, which a mapped file does not; until the system drops its cache, the
/// bytes are there twice.
/// \source vLLM's safetensors_load_strategy "eager"; Run:ai Model Streamer's concurrent reads
struct Buffered {
  static constexpr std::string_view name = "buffered";
  std::size_t threads = 4;
  std::size_t chunk = std::size_t{8} << 20;  // in bytes, a multiple of 4096

  [[nodiscard]] checkpoint::FileBytes load(const std::string& path) const {
    return detail::read_in_chunks(path, threads, chunk, false);
  }
};
static_assert(FileLoadPolicy<Buffered>);

}  // namespace quire::file_load
