#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace quire::testing {

/// How often a random test repeats: `base` times the environment's QUIRE_FUZZ_SCALE, at least once.
inline std::int64_t fuzz_count(std::int64_t base) {
  const char* scale = std::getenv("QUIRE_FUZZ_SCALE");
  const double factor = scale == nullptr ? 1.0 : std::atof(scale);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(base) * factor));
}

}  // namespace quire::testing
