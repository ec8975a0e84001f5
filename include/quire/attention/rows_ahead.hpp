#pragma once

#include <cstddef>

#include <quire/core/simd.hpp>

namespace quire::attention::detail {

/// Fetches a line of keys or values that is needed in a while. On Zen 5, decoding is 5 to 10 % faster
/// when it comes into all levels of the cache (at blocks of one or two tokens, a sixth slower: their
/// rows meet in few sets of the first); elsewhere only the second has room for as many, and on Zen 4,
/// whose first holds 32 KiB, decoding takes twice as long with it.
HWY_INLINE void fetch_line(const std::byte* p) {
#if defined(__SSE4A__) && defined(__AVXVNNI__)  // AMD, from Zen 5 on
  __builtin_prefetch(p, 0, 3);
#else
  simd::fetch_ahead(p);
#endif
}

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

  /// The next `rows` rows, for the caller to fetch, where they lie one behind the other and none of their lines
  /// was fetched; else null.
  HWY_INLINE const std::byte* take(std::size_t rows) {
    if (static_cast<std::size_t>(end - row) < rows || rows == 0) return nullptr;
    const std::byte* const first = *row;
    if (next != first || row[rows - 1] != first + (rows - 1) * bytes) return nullptr;
    row += rows;
    if (row != end) next = *row;
    return first;
  }
  HWY_INLINE void fetch() {
    if (row == end) return;
    fetch_line(next);
    next += 64;
    if (next < *row + bytes) return;
    const std::byte* const stop = *row + bytes;
    if (++row != end && (*row != stop || next >= stop + bytes)) next = *row;
  }
};

}  // namespace quire::attention::detail
