#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

namespace quire::experiment {

/// Starts the account of peak_memory() anew, where the system lets a process do so; else it goes on.
inline void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5\n"; }

/// Bytes of this process that were resident at once, at most; nothing where the system does not say.
[[nodiscard]] inline std::optional<std::int64_t> peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmHWM:")) continue;
    const std::size_t digits = line.find_first_of("0123456789");
    if (digits == std::string::npos) return std::nullopt;
    std::int64_t kib = 0;
    const auto read = std::from_chars(line.data() + digits, line.data() + line.size(), kib);
    if (read.ec != std::errc{}) return std::nullopt;
    return kib * 1024;
  }
  return std::nullopt;
}

}  // namespace quire::experiment
