#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_map.hpp>

namespace quire::file_load {

/// Maps a file and waits until all of it is in memory: no page is waited for later.
/// \source MAP_POPULATE, mmap(2)
struct Populated {
  static constexpr std::string_view name = "populated";

  [[nodiscard]] checkpoint::FileBytes load(const std::string& path) const {
    auto map = std::make_shared<const checkpoint::FileMap>(path, MAP_POPULATE);
    return {path, map->bytes(), map};
  }
};
static_assert(FileLoadPolicy<Populated>);

}  // namespace quire::file_load
