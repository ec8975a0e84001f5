#pragma once

#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/workload/trace/open_trace.hpp>

#include "tests/common/temp_file.hpp"

namespace quire::testing {

/// What open_trace says of a file with this text, without the file's folder; empty when it reads
/// it.
[[nodiscard]] inline std::string trace_error(std::string_view text) {
  const TempDir folder;
  const auto file = folder.write("t", text);
  try {
    static_cast<void>(workload::trace::open_trace(file));
  } catch (const Error& error) {
    std::string line = error.what();
    const auto at = line.find(folder.path().string());
    return at == 0 ? line.substr(folder.path().string().size() + 1) : line;
  }
  return {};
}

[[nodiscard]] inline std::filesystem::path golden_trace(std::string_view name) {
  return std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/traces" / name;
}

}  // namespace quire::testing
