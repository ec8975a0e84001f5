#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <quire/checkpoint/file_load/buffered.hpp>
#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_load/direct.hpp>
#include <quire/checkpoint/file_load/io_uring.hpp>
#include <quire/checkpoint/file_load/mapped.hpp>
#include <quire/checkpoint/file_load/mapped_ahead.hpp>
#include <quire/checkpoint/file_load/populated.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::checkpoint {

/// A FileLoadPolicy as a value: checkpoints are opened before any type of an engine is known.
struct FileLoader {
  std::string_view name;
  std::function<FileBytes(const std::string& path)> load;
};

template <FileLoadPolicy Load>
[[nodiscard]] FileLoader file_loader(Load load = {}) {
  return {Load::name, [load](const std::string& path) { return load.load(path); }};
}

/// What checkpoints are opened with unless another is asked for.
[[nodiscard]] inline FileLoader mapped_files() { return file_loader<file_load::Mapped>(); }

/// Those that come with Quire, with their own threads and sizes.
[[nodiscard]] inline const auto& file_loaders() {
  using namespace file_load;
  static const std::array all{file_loader<Mapped>(),    file_loader<MappedAhead>(),
                              file_loader<Populated>(), file_loader<Buffered>(),
                              file_loader<Direct>(),    file_loader<IoUring>()};
  return all;
}

/// \errors usage for a name that none of them has
[[nodiscard]] inline const FileLoader& file_loader_named(std::string_view name) {
  std::string known;
  for (const FileLoader& loader : file_loaders()) {
    if (loader.name == name) return loader;
    known += (known.empty() ? "" : ", ") + std::string(loader.name);
  }
  throw usage_error("file load " + in_quotes(name), "there is none of this name", known);
}

}  // namespace quire::checkpoint
