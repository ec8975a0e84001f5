#pragma once

#include <cstddef>

#include <quire/core/simd.hpp>

namespace quire::attention::detail {

/// Fetches rows a line at a time, in the order in which they lie: memory is slower for any other. Lines
/// that a row shares with the one before it are fetched once.
struct RowsAhead {
  const std::byte* const* row = nullptr;
  const std::byte* const* end = nullptr;
  std::size_t bytes = 0;  // of a row
  const std::byte* next = nullptr;

  RowsAhead() = default;
  RowsAhead(const std::byte* const* first, const std::byte* const* last, std::size_t row_bytes)
      : row(first), end(last), bytes(row_bytes), next(first == last ? nullptr : *first) {}

  HWY_INLINE void fetch() {
    if (row == end) return;
    simd::fetch_ahead(next);
    next += 64;
    if (next < *row + bytes) return;
    const std::byte* const stop = *row + bytes;
    if (++row != end && (*row != stop || next >= stop + bytes)) next = *row;
  }
};

}  // namespace quire::attention::detail
