#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_map.hpp>

namespace quire::file_load {

/// Maps a file: pages come in when they are touched, and may go again while the system is short of memory.
/// Opening costs the same whatever the size; tensors that nobody reads cost nothing. A page that is not in
/// the system's cache keeps the thread that touches it waiting.
/// \source safetensors' own readers; vLLM's safetensors_load_strategy "lazy"
struct Mapped {
  static constexpr std::string_view name = "mapped";

  [[nodiscard]] checkpoint::FileBytes load(const std::string& path) const {
    auto map = std::make_shared<const checkpoint::FileMap>(path);
    return {path, map->bytes(), map};
  }
};
static_assert(FileLoadPolicy<Mapped>);

}  // namespace quire::file_load
