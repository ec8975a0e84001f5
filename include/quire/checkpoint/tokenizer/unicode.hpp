#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

#include <quire/checkpoint/tokenizer/unicode_tables.hpp>

namespace quire::checkpoint::tokenizer {

namespace detail {
template <class Row, std::size_t N>
[[nodiscard]] const Row* find_row(const Row (&rows)[N], char32_t point) {
  const Row* at = std::upper_bound(std::begin(rows), std::end(rows), point,
                                   [](char32_t p, const Row& row) { return p < row.first; });
  if (at == std::begin(rows)) return nullptr;
  --at;
  return point <= at->last ? at : nullptr;
}
}  // namespace detail

/// General categories L* (`p{L}` in patterns).
/// \complexity O(log ranges); one comparison for ASCII
[[nodiscard]] inline bool is_letter(char32_t point) {
  if (point < 0x80) return (point | 0x20) >= 'a' && (point | 0x20) <= 'z';
  return detail::find_row(tables::letters, point) != nullptr;
}
/// General categories N* (`p{N}` in patterns).
[[nodiscard]] inline bool is_number(char32_t point) {
  if (point < 0x80) return point >= '0' && point <= '9';
  return detail::find_row(tables::numbers, point) != nullptr;
}
/// The White_Space property (`s` in patterns).
[[nodiscard]] constexpr bool is_space(char32_t point) {
  return point == ' ' || (point >= 0x09 && point <= 0x0D) || point == 0x85 || point == 0xA0 ||
         point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 ||
         point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
}
/// Word characters (`w` in patterns of the Rust regex crate).
[[nodiscard]] inline bool is_word(char32_t point) {
  return detail::find_row(tables::words, point) != nullptr;
}

}  // namespace quire::checkpoint::tokenizer
