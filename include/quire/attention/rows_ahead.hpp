#pragma once

#include <cstddef>

#include <quire/core/simd.hpp>

namespace quire::attention::detail {

/// Fetches rows a line at a time, in the order in which they lie: memory is slower for any other.
struct RowsAhead {
  const std::byte* const* row = nullptr;
  const std::byte* const* end = nullptr;
  std::size_t bytes = 0;  // of a row
  std::size_t at = 0;
  HWY_INLINE void fetch() {
    if (row == end) return;
    simd::fetch_ahead(*row + at);
    at += 64;
    if (at >= bytes) {
      at = 0;
      ++row;
    }
  }
};

}  // namespace quire::attention::detail
